"""What a person wrote, without what others wrote."""

import pytest

from db.domain.mail.quoting import said_in

INTROS = [
    "On Mon, May 4, 2026 at 9:15 AM Bob Brown <bob@example.org> wrote:",
    "On 4 May 2026, at 09:15, Bob Brown <bob@example.org> wrote:",
    "On 04.05.26 09:15, Bob Brown wrote:",
    "On 2026-05-04 09:15, Bob Brown wrote:",
    "---- On Mon, 04 May 2026 09:15:00 +0200 Bob Brown <bob@example.org> wrote ----",
    "Bob Brown <bob@example.org> wrote on 4 May 2026 at 09:15:",
    "Bob Brown <bob@example.org> writes:",
    "At 09:15 04.05.2026, Bob Brown wrote:",
    "On Monday, May 4th, 2026 at 9:15 AM, Bob Brown <bob@example.org> wrote:",
    "Am Mo., 4. Mai 2026 um 09:15 Uhr schrieb Bob Brown <bob@example.org>:",
    "Am 04.05.26 um 09:15 schrieb Bob Brown:",
    "Am 04.05.2026 um 09:15 schrieb Bob Brown <bob@example.org>:",
    "Bob Brown <bob@example.org> schrieb am Mo., 4. Mai 2026, 09:15:",
    "Le lun. 4 mai 2026 à 09:15, Bob Brown <bob@example.org> a écrit :",
    "Le 04/05/2026 à 09:15, Bob Brown a écrit :",
    "Le 4 mai 2026 à 09:15, Bob Brown <bob@example.org> a écrit :",
    "El lun, 4 may 2026 a las 9:15, Bob Brown (<bob@example.org>) escribió:",
    "El 4/5/26 a las 9:15, Bob Brown escribió:",
    "El 4 may 2026, a las 9:15, Bob Brown <bob@example.org> escribió:",
    "Il giorno lun 4 mag 2026 alle ore 09:15 Bob Brown <bob@example.org> ha scritto:",
    "Il 04/05/2026 09:15, Bob Brown ha scritto:",
    "Op ma 4 mei 2026 om 09:15 schreef Bob Brown <bob@example.org>:",
    "Op 4 mei 2026 om 09:15 heeft Bob Brown <bob@example.org> het volgende geschreven:",
    "Op 04-05-2026 om 09:15 schreef Bob Brown:",
    "Em seg., 4 de mai. de 2026 às 09:15, Bob Brown <bob@example.org> escreveu:",
    "Em 04/05/2026 09:15, Bob Brown escreveu:",
    "No dia 4 de maio de 2026, às 09:15, Bob Brown <bob@example.org> escreveu:",
    "pon., 4 maj 2026 o 09:15 Bob Brown <bob@example.org> napisał(a):",
    "W dniu 04.05.2026 o 09:15, Bob Brown pisze:",
    "Dnia 4 maja 2026 09:15 Bob Brown <bob@example.org> napisał(a):",
    "пн, 4 мая 2026 г. в 09:15, Bob Brown <bob@example.org>:",
    "4 мая 2026 г., в 09:15, Bob Brown <bob@example.org> написал(а):",
    "04.05.2026 09:15, Bob Brown пишет:",
    "пн, 4 трав. 2026 р. о 09:15 Bob Brown <bob@example.org> пише:",
    "4 травня 2026 р. о 09:15 Bob Brown <bob@example.org> написав:",
    "Den mån 4 maj 2026 kl 09:15 skrev Bob Brown <bob@example.org>:",
    "4 maj 2026 kl. 09:15 skrev Bob Brown <bob@example.org>:",
    "man. 4. mai 2026 kl. 09:15 skrev Bob Brown <bob@example.org>:",
    "Den 04.05.2026 09:15, skrev Bob Brown:",
    "Den man. 4. maj 2026 kl. 09.15 skrev Bob Brown <bob@example.org>:",
    "ma 4. toukok. 2026 klo 9.15 Bob Brown (bob@example.org) kirjoitti:",
    "Bob Brown <bob@example.org> kirjoitti 4.5.2026 kello 9.15:",
    "po 4. 5. 2026 v 9:15 odesílatel Bob Brown <bob@example.org> napsal:",
    "Dne 4. 5. 2026 v 9:15 Bob Brown napsal(a):",
    "Bob Brown <bob@example.org> 于2026年5月4日周一 09:15写道：",
    "在 2026年5月4日，09:15，Bob Brown <bob@example.org> 写道：",
    "2026年5月4日(月) 9:15 Bob Brown <bob@example.org>:",
    "2026/05/04 9:15、Bob Brown <bob@example.org>のメール:",
    "2026年5月4日 09:15、Bob Brown <bob@example.org>が書きました:",
]  # fmt: skip
HEADERS = [
    "From: Bob Brown <bob@example.org>\nSent: Monday, May 4, 2026 9:15 AM\nTo: Ann\nSubject: Offer",
    "*From:* Bob Brown <bob@example.org>\n*Sent:* Monday, May 4, 2026 9:15 AM\n*To:* Ann\n*Subject:* Offer",
    "-----Original Message-----\nFrom: Bob Brown\nSent: Monday",
    "Von: Bob Brown <bob@example.org>\nGesendet: Montag, 4. Mai 2026 09:15\nAn: Ann\nBetreff: Angebot",
    "-----Ursprüngliche Nachricht-----\nVon: Bob Brown",
    "De : Bob Brown <bob@example.org>\nEnvoyé : lundi 4 mai 2026 09:15\nÀ : Ann\nObjet : Offre",
    "De: Bob Brown <bob@example.org>\nEnviado el: lunes, 4 de mayo de 2026 9:15\nPara: Ann\nAsunto: Oferta",
    "Da: Bob Brown <bob@example.org>\nInviato: lunedì 4 maggio 2026 09:15\nA: Ann\nOggetto: Offerta",
    "Van: Bob Brown <bob@example.org>\nVerzonden: maandag 4 mei 2026 09:15\nAan: Ann\nOnderwerp: Aanbod",
    "De: Bob Brown <bob@example.org>\nEnviada em: segunda-feira, 4 de maio de 2026 09:15\nPara: Ann\nAssunto: Oferta",
    "Od: Bob Brown <bob@example.org>\nWysłano: poniedziałek, 4 maja 2026 09:15\nDo: Ann\nTemat: Oferta",
    "От: Bob Brown <bob@example.org>\nОтправлено: 4 мая 2026 г. 9:15\nКому: Ann\nТема: Offer",
    "Від: Bob Brown <bob@example.org>\nНадіслано: 4 травня 2026 р. 9:15\nКому: Ann\nТема: Offer",
    "Från: Bob Brown <bob@example.org>\nSkickat: den 4 maj 2026 09:15\nTill: Ann\nÄmne: Offert",
    "Fra: Bob Brown <bob@example.org>\nSendt: mandag 4. mai 2026 09:15\nTil: Ann\nEmne: Tilbud",
    "Lähettäjä: Bob Brown <bob@example.org>\nLähetetty: 4.5.2026 9.15\nVastaanottaja: Ann\nAihe: Tarjous",
    "Odesílatel: Bob Brown <bob@example.org>\nOdesláno: pondělí 4. května 2026 9:15\nKomu: Ann\nPředmět: Nabídka",
    "发件人: Bob Brown <bob@example.org>\n发送时间: 2026年5月4日 9:15\n收件人: Ann\n主题: Offer",
    "差出人: Bob Brown <bob@example.org>\n送信日時: 2026年5月4日 9:15\n宛先: Ann\n件名: Offer",
    "________________________________\nFrom: Bob Brown <bob@example.org>\nSent: Monday",
    "---------- Forwarded message ---------\nFrom: Bob Brown",
    "Begin forwarded message:\n\nFrom: Bob Brown",
]  # fmt: skip
UNUSUAL = [
    "On Mon, May 4, 2026 at 9:15 AM Bob Brown <bob@example.org> wrote",
    "Le 4 mai 2026 à 09:15, Bob Brown <bob@example.org> a écrit",
    "In article <123@example.org>, Bob Brown wrote:",
    "Posted by Bob Brown on 05/04/2026",
    "##- Please type your reply above this line -##",
    "--- Reply above this line ---",
    "Bob Brown via Example Forum <noreply@example.org> wrote on Mon, 4 May 2026:",
    "On Mon, 4 May 2026 09:15:00 +0200\nBob Brown <bob@example.org> wrote:",
    "Quoting Bob Brown <bob@example.org>:",
    "Zitat von Bob Brown <bob@example.org>:",
    "4 May 2026 09:15 tarihinde Bob Brown <bob@example.org> yazdı:",
    "Bob Brown <bob@example.org>, 4 May 2026 Pzt, 09:15 tarihinde şunu yazdı:",
    "Bob Brown <bob@example.org> ezt írta (időpont: 2026. máj. 4., H, 9:15):",
    "În lun., 4 mai 2026 la 09:15, Bob Brown <bob@example.org> a scris:",
    "Vào Th 2, 4 thg 5, 2026 vào lúc 09:15 Bob Brown <bob@example.org> đã viết:",
    "2026년 5월 4일 (월) 오전 9:15, Bob Brown <bob@example.org>님이 작성:",
    "בתאריך יום ב׳, 4 במאי 2026 ב-9:15 מאת \u202aBob Brown\u202c\u200f <\u202abob@example.org\u202c\u200f>:\u202c",
    "في الاثنين، 4 مايو 2026 في 9:15 ص تمت كتابة ما يلي بواسطة Bob Brown <bob@example.org>:",
    "*Von:* Bob Brown <bob@example.org>\n*Gesendet:* Montag\n*An:* Ann\n*Betreff:* X",
    "From: Bob Brown\nDate: Monday, 4 May 2026\nTo: Ann\nSubject: Offer",
    "From: Bob Brown [mailto:bob@example.org] \nSent: Monday",
    "Bob Brown schreef op 4-5-2026 om 09:15:",
    "Bob Brown skrev den 2026-05-04 09:15:",
    "Bob Brown napsal/a dne 4.5.2026 v 9:15:",
    "Am 4. Mai 2026 09:15:00 MESZ schrieb Bob Brown <bob@example.org>:",
    "Den 4. maj 2026 09.15.00 CEST, Bob Brown <bob@example.org> skrev:",
    "Le lundi 4 mai 2026, Bob Brown <bob@example.org> a écrit :",
    "El lun., 4 de mayo de 2026 9:15 a. m., Bob Brown <bob@example.org>\nescribió:",
    "2026-05-04 9:15 GMT+02:00 Bob Brown <bob@example.org>:",
    "Mensaje original\nDe: Bob",
    "-------- Original message --------\nFrom: Bob Brown",
    "-------- Ursprüngliche Nachricht --------\nVon: Bob",
    "-------- Message d'origine --------\nDe : Bob",
    "Il lun 4 mag 2026, 09:15 Bob Brown <bob@example.org> ha scritto:",
    "Em seg, 4 de mai de 2026 09:15, Bob Brown <bob@example.org> escreveu:",
    "Op ma 4 mei 2026 09:15 schreef Bob Brown <bob@example.org>:",
]
ANSWER = "Yes, call me on Tuesday.\n\nOur budget is 4,000: is that enough?"


@pytest.mark.parametrize("intro", INTROS)
@pytest.mark.parametrize("quote", ["> Hello Ann,\n>\n> shall we talk?\n> Bob", "Hello Ann,\n\nshall we talk?\nBob"])
def test_a_quote_is_cut_in_any_language(intro: str, quote: str) -> None:
    assert said_in(f"{ANSWER}\n\n{intro}\n\n{quote}\n").text == ANSWER


@pytest.mark.parametrize("intro", UNUSUAL)
@pytest.mark.parametrize("quote", ["> Hello Ann,\n> Bob", "Hello Ann,\n\nshall we talk?\nBob"])
def test_a_quote_is_cut_however_it_is_introduced(intro: str, quote: str) -> None:
    assert said_in(f"{ANSWER}\n\n{intro}\n\n{quote}\n").text == ANSWER


@pytest.mark.parametrize("intro", INTROS[:1] + INTROS[9:10] + INTROS[13:14] + INTROS[21:23])
def test_an_introduction_that_was_broken_into_lines_is_one(intro: str) -> None:
    words = intro.split(" ")
    broken = " ".join(words[: len(words) // 2]) + "\n" + " ".join(words[len(words) // 2 :])
    assert said_in(f"{ANSWER}\n\n{broken}\n\n> Hello").text == ANSWER


@pytest.mark.parametrize("header", HEADERS)
def test_a_mail_below_its_headers_is_cut(header: str) -> None:
    assert said_in(f"{ANSWER}\n\n{header}\n\nHello Ann,\n\nshall we talk?").text == ANSWER


@pytest.mark.parametrize(
    "ending",
    [
        "Sent from my Samsung Galaxy smartphone.",
        "Sent from Yahoo Mail on Android",
        "Sent from Mail for Windows 10",
        "Sent with Proton Mail secure email.",
        "Envoyé depuis mon smartphone Samsung Galaxy.",
        "Gesendet mit der GMX Mail App",
        "Diese Nachricht wurde von meinem Android-Mobiltelefon mit GMX Mail gesendet.",
        "Enviado desde mi smartphone Samsung Galaxy.",
        "Inviato dal mio iPhone",
        "Verzonden vanaf mijn Galaxy",
        "Enviado do Yahoo Mail no Android",
        "(sent from my phone)",
        "Sent from my iPhone, please excuse typos",
        "Télécharger Outlook pour iOS",
        "Holen Sie sich Outlook für iOS",
        "Outlook für Android herunterladen",
        "Obtén Outlook para iOS",
        "Ottieni Outlook per iOS",
        "Download Outlook voor iOS",
        "Obter o Outlook para iOS",
        "Get Outlook for Android <https://aka.ms/x>",
        "发自我的iPhone",
        "iPhoneから送信",
        "Skickat från min iPhone",
        "Sendt fra min iPhone",
        "Lähetetty iPhonesta",
        "Odesláno z iPhonu",
        "Надіслано з iPhone",
        "___",
        "- -",
        "* * *",
        "Diese E-Mail wurde von Avast auf Viren geprüft.",
        "Virenfrei. www.avast.com",
        "Please think of the environment before printing this e-mail.",
        "P Please consider the environment before printing",
        "Bitte prüfen Sie der Umwelt zuliebe, ob der Ausdruck dieser Mail erforderlich ist.",
        "Pensez à l'environnement avant d'imprimer ce message.",
        "Der Inhalt dieser E-Mail ist vertraulich.",
        "The information contained in this message is confidential and may be legally privileged.",
        "-- \nAnn Smith\n+1 555 0100",
        "--\nAnn",
        "Sent from my iPhone",
        "Get Outlook for iOS<https://example.com/x>",
        "Von meinem iPhone gesendet",
        "Envoyé de mon iPhone",
        "Enviado desde mi iPhone",
        "Inviato da iPhone",
        "Verzonden vanaf mijn iPhone",
        "Enviado do meu iPhone",
        "Wysłane z iPhone'a",
        "Отправлено с iPhone",
        "This email and any attachments are confidential and intended solely for the addressee.",
        "CONFIDENTIALITY NOTICE: for the addressee only.",
        "Diese E-Mail enthält vertrauliche Informationen.",
        "Ce message et ses pièces jointes sont confidentiels.",
        "You received this message because you are subscribed to the group.",
    ],
)
def test_signatures_and_disclaimers_are_cut(ending: str) -> None:
    assert said_in(f"{ANSWER}\n\n{ending}\n").text == ANSWER


@pytest.mark.parametrize(
    "text",
    [
        "On Monday I wrote to Bob: he agrees.",
        "As you wrote on 4 May:\nthe price is 10 a month. Right?",
        "From: Berlin\nwe would need delivery to Paris.",
        "Date: Tuesday\nPlace: our office",
        "Sure.\n\nSubject: to what Bob says.",
        "She said: yes, 100 %.",
        "I > you",
        "Kind regards\nAnn",
        "Thanks, Ann",
        "The offer stands -- for now.",
        "Get by tomorrow what you need.",
        "Sent by courier yesterday.",
        "Please consider our offer.",
        "To reply to your question, yes.",
        "Original message boards are what we sell.",
        "To be honest, 4 people wrote this.",
    ],
)
def test_what_only_looks_like_a_quote_stays(text: str) -> None:
    assert said_in(text).text == text


def test_answers_between_quoted_lines_are_kept_without_them() -> None:
    text = "On 4 May 2026, Bob <bob@example.org> wrote:\n> Monday?\n\nNo, Tuesday.\n\n> By phone?\n\nYes.\n"
    said = said_in(text)
    assert said.text.split() == ["No,", "Tuesday.", "Yes."]
    assert "> Monday?" in said.quoted


def test_an_answer_above_a_quote_and_between_its_lines_is_kept_whole() -> None:
    text = "See below.\n\nOn 4 May 2026, Bob <bob@example.org> wrote:\n> Monday?\n\nNo, Tuesday.\n"
    assert said_in(text).text.split() == ["See", "below.", "No,", "Tuesday."]


def test_a_line_with_a_figure_above_an_introduction_is_the_persons() -> None:
    text = (
        "It is all I have time for\nto test this in 2 weeks.\nOp 16 aug. 2014 05:13 schreef Bob <bob@example.org> het\n"
    )
    text += "volgende geschreven:\n\n> Hello"
    assert said_in(text).text == "It is all I have time for\nto test this in 2 weeks."


def test_a_postscript_below_the_name_is_kept_and_a_name_alone_is_a_greeting() -> None:
    text = "Yes.\n\nBest regards\nAnn Smith\nExample Ltd\n\nPS: bring the contract."
    assert said_in(text).text == "Yes.\n\nBest regards\nAnn Smith\n\nPS: bring the contract."
    assert said_in("Yes.\n\nAnn Smith", name="Smith, Ann").text == "Yes.\n\nAnn Smith"
    assert said_in("Yes.\n\nAnn Smith\nExample Ltd", name="Ann Smith").text == "Yes."


def test_an_answer_below_the_quote_is_found() -> None:
    assert (
        said_in("On 4 May 2026, Bob <bob@example.org> wrote:\n> Shall we talk?\n\nYes, please.").text == "Yes, please."
    )


def test_a_mail_that_is_only_passed_on_is_nobodys_own_words() -> None:
    said = said_in(
        "---------- Forwarded message ---------\nFrom: Bob\nDate: Monday\nSubject: Hi\nTo: Ann\n\nUnsubscribe me."
    )
    assert (said.text, said.is_own) == ("Unsubscribe me.", False)


def test_a_quote_alone_is_nothing_said() -> None:
    said = said_in("> Unsubscribe me.")
    assert (said.text, said.quoted, said.is_own) == ("", "> Unsubscribe me.", False)


def test_contact_lines_under_a_name_are_cut_and_the_greeting_stays() -> None:
    text = "Works for me.\n\nBest regards\nAnn Smith\n\nHead of Sales | Example Ltd\n+44 20 7946 0000\nwww.example.com"
    assert said_in(text).text == "Works for me.\n\nBest regards\nAnn Smith"


def test_a_signed_text_loses_its_armour() -> None:
    text = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nYes.\n-----BEGIN PGP SIGNATURE-----\nabc"
    assert said_in(text).text == "Yes."


def test_invisible_characters_are_no_part_of_what_was_said() -> None:
    assert (
        said_in("Y\u200be\u00ads\u202e, ple\u2060ase \U0001f469\u200d\U0001f4bb\u00a0!").text
        == "Yes, please \U0001f469\u200d\U0001f4bb !"
    )
