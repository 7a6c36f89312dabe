"""What programs answer, in seven languages: who is away, until when, who has left, and that a mail came in."""

import pytest

from db.domain.mail import MailKind, Verdict
from db.domain.mail.judge import judge
from db.mail import parse_mail

QUOTE = "\n\nOn 3 Nov 2026, Bob Brown <bob@example.org> wrote:\n> Hi Ann,\n> shall we talk?\n"


def verdict_on(text: str, *, sender: str = "Ann Smith <ann.smith@example.com>", program: bool = True) -> Verdict:
    subject = "Automatic reply: Hello" if program else "Re: Hello"
    head = f"From: {sender}\nTo: bob@example.org\nSubject: {subject}\nDate: Wed, 4 Nov 2026 09:15:00 +0100\n"
    return judge(parse_mail(f"{head}{'Auto-Submitted: auto-replied' if program else 'X-Mailer: x'}\n\n{text}".encode()))


LEFT = [
    "Ann Smith no longer works at Example Ltd. Please write to tom@example.com.",
    "I have left Example Ltd. For anything urgent contact Tom Lee (tom@example.com).",
    "As of 1 October I am no longer with the company.",
    "This employee has left our organisation.",
    "Thank you for your mail. Ann Smith has moved on to a new challenge outside of Example.",
    "My last day at Example was 30 October.",
    "Ann has retired. Her mails are read by nobody.",
    "The account you wrote to belongs to a former employee.",
    "Ann Smith is no longer employed by us.",
    "Frau Schmidt ist nicht mehr in unserem Unternehmen tätig.",
    "Ich habe das Unternehmen zum 31.10. verlassen.",
    "Herr Weber ist aus dem Unternehmen ausgeschieden. Bitte wenden Sie sich an info@example.com.",
    "Ich bin nicht mehr bei der Example GmbH beschäftigt.",
    "Frau Schmidt befindet sich im wohlverdienten Ruhestand.",
    "Der Mitarbeiter hat uns verlassen.",
    "Anne a quitté l'entreprise. Merci d'écrire à tom@example.com.",
    "Je ne fais plus partie de la société depuis le 1er octobre.",
    "Monsieur Petit a fait valoir ses droits à la retraite.",
    "Cette personne ne travaille plus chez nous.",
    "J'ai quitté mes fonctions fin septembre.",
    "Ana ya no trabaja en Example. Escriba a tom@example.com.",
    "Ya no formo parte de la empresa.",
    "Ana dejó la compañía en septiembre.",
    "Desde octubre no pertenezco a la plantilla de Example.",
    "Ik ben niet meer werkzaam bij Example BV.",
    "Anna heeft Example verlaten. Neem contact op met tom@example.com.",
    "Deze medewerker is niet langer in dienst.",
    "Per 1 november ben ik met pensioen.",
    "Anna non lavora più in Example.",
    "Non faccio più parte dell'azienda dal primo ottobre.",
    "La dottoressa Rossi ha lasciato la società.",
    "La collaborazione con Anna Rossi si è conclusa.",
    "Ana já não trabalha na Example.",
    "Deixei a empresa no dia 30 de outubro.",
    "A colaboradora já não faz parte dos nossos quadros.",
    "O João desligou-se da empresa.",
]
AWAY = [
    "I'm out today.",
    "Off sick this week, back when I'm better.",
    "On a business trip, replies will be slow.",
    "I am travelling with patchy internet.",
    "At a conference until Thursday.",
    "Enjoying some time off with the family.",
    "I'm currently on jury duty.",
    "Gone fishing. Back 16 November.",
    "I don't work on Wednesdays.",
    "I am attending a training and can't read mail.",
    "Ich bin derzeit nicht am Platz.",
    "Ich bin krank und lese keine Mails.",
    "Diese Woche bin ich auf Fortbildung.",
    "Bin im Außendienst und antworte verzögert.",
    "Unser Büro bleibt bis 6. Januar geschlossen.",
    "Ich arbeite freitags nicht.",
    "Je suis en formation cette semaine.",
    "Le bureau est fermé jusqu'au 4 janvier.",
    "Je suis souffrante et ne lis pas mes mails.",
    "Actuellement en rendez-vous à l'extérieur.",
    "Estoy de viaje hasta el 12 de noviembre.",
    "Esta semana estoy en una feria.",
    "Cerrado por vacaciones del 21 al 31 de diciembre.",
    "No estoy disponible hoy.",
    "Ik ben op reis en lees mijn mail niet.",
    "Ik ben ziek.",
    "Vandaag ben ik niet aan het werk.",
    "Wij zijn gesloten tot 4 januari.",
    "Sono in viaggio di lavoro.",
    "Oggi non sono in ufficio.",
    "Siamo chiusi per ferie fino al 6 gennaio.",
    "Sono a una fiera e rispondo lentamente.",
    "Estou em formação esta semana.",
    "Estamos encerrados até 4 de janeiro.",
    "Estou doente, respondo assim que puder.",
    "Hoje não estou no escritório.",
]
RECEIVED = [
    "We have received your message and will reply within two working days.",
    "Your request has been logged under number 48213.",
    "Thank you for contacting Example support. A ticket has been created: EX-2231.",
    "This is to confirm that your e-mail has arrived.",
    "Thanks for getting in touch, we will be with you shortly.",
    "Ihre Nachricht ist bei uns eingegangen. Vorgangsnummer 23123.",
    "Vielen Dank für Ihre Anfrage. Wir melden uns zeitnah.",
    "Wir bestätigen den Eingang Ihrer E-Mail.",
    "Nous avons bien reçu votre message et vous répondrons rapidement.",
    "Votre demande a été enregistrée sous la référence 2231.",
    "Hemos recibido su mensaje. Le responderemos en 48 horas.",
    "Su consulta ha sido registrada con el número 2231.",
    "Wij hebben uw e-mail ontvangen en nemen spoedig contact op.",
    "Uw vraag is geregistreerd onder nummer 2231.",
    "Abbiamo ricevuto la sua email e risponderemo presto.",
    "La sua richiesta è stata presa in carico.",
    "Recebemos a sua mensagem e responderemos em breve.",
    "O seu pedido foi registado com o n.º 2231.",
    "To deliver your message, please confirm that you are human: https://example.com/c",
    "Ihre Nachricht wurde zurückgehalten. Bitte bestätigen Sie, dass Sie kein Roboter sind.",
]
TOLD_BY_A_COLLEAGUE = [
    "Ann has left the company.",
    "Ann left us in spring, please write to tom@example.com.",
    "She's no longer here.",
    "He retired last year.",
    "Ann isn't with us any more.",
    "Frau Smith arbeitet nicht mehr hier.",
    "Sie ist nicht mehr bei uns.",
    "Ann ist seit Mai in Rente.",
    "Ann a quitté la société.",
    "Elle ne travaille plus ici.",
    "Ann est partie à la retraite.",
    "Ann ya no está con nosotros.",
    "Se fue de la empresa.",
    "Ann werkt hier niet meer.",
    "Ze is vertrokken.",
    "Ann è andata via, scriva a Tom: tom@example.com.",
    "Non è più con noi.",
    "A Ann já não está cá.",
    "A Ann saiu da empresa.",
    "Ele reformou-se.",
]
PERSONS = [
    "I have left a voicemail for you.",
    "We have left our old provider and are looking around.",
    "I no longer work on Fridays, call me Thursday.",
    "Our planner left us last week, can you help?",
    "Half of the team has left for the summer.",
    "My boss has left for the day, I'll ask tomorrow.",
    "Ich bin nicht mehr zufrieden mit Excel.",
    "Unser Planer ist ausgeschieden, wir brauchen Ersatz.",
    "Wir sind nicht mehr bei dem Anbieter.",
    "Nous ne travaillons plus avec Excel.",
    "Mon collègue a quitté la réunion, je vous rappelle.",
    "Ya no trabajamos con Excel.",
    "Mi jefe ya no está hoy, mañana le pregunto.",
    "Wij werken niet meer met Excel.",
    "Non lavoriamo più con Excel.",
    "Il mio collega non è più in ufficio oggi, lo chiami domani.",
    "Já não trabalhamos com Excel.",
    "O meu chefe já saiu, falo com ele amanhã.",
    "I no longer need it, thanks.",
    "He left the decision to me.",
    "What is left to decide is the price.",
]
# The day of return, and what else can be read: 4 November 2026 is a Wednesday.
DAYS: list[tuple[str, list[str | None]]] = [
    ("Back in the office 9th Nov.", ["2026-11-09"]),
    ("Back on 9th November, thanks for your patience.", ["2026-11-09"]),
    ("I'm away until Mon 9 Nov.", ["2026-11-09"]),
    ("I'm away until next Monday.", ["2026-11-09"]),
    ("Out from 3 Nov till 6 Nov.", ["2026-11-06", "2026-11-07"]),
    ("On vacation November 3 - 13.", ["2026-11-13", "2026-11-14"]),
    ("On leave 3-13 November.", ["2026-11-13", "2026-11-14"]),
    ("I am out of the office returning 09/11.", [None]),
    ("I am out of the office until Nov 9th and will reply then.", ["2026-11-09"]),
    ("Back: Nov 9", ["2026-11-09"]),
    ("Return date: 2026-11-09", ["2026-11-09"]),
    ("I will return to work on Monday the 9th of November.", ["2026-11-09"]),
    ("I'm off this week and will respond from Monday onwards.", ["2026-11-09"]),
    ("I shall return December 1st.", ["2026-12-01"]),
    ("My office will be closed from December 24th through January 3rd.", ["2027-01-04"]),
    ("Closed between 24 December and 3 January.", ["2027-01-03", "2027-01-04"]),
    ("Away for a month, returning 7 December.", ["2026-12-07"]),
    ("I am out of office starting 11/03/2026 and returning 11/30/2026.", ["2026-11-30"]),
    ("I'm unavailable until the afternoon of 9 November.", ["2026-11-09"]),
    ("I will be out of the office from Wednesday 4 November and will return on Monday 9 November.", ["2026-11-09"]),
    ("Ich bin bis zum 9.11.2026 nicht erreichbar.", ["2026-11-09"]),
    ("Ab dem 9. November bin ich wieder für Sie da.", ["2026-11-09"]),
    ("Rückkehr: 09.11.2026", ["2026-11-09"]),
    ("Ich bin vom 3. bis 6. November im Urlaub.", ["2026-11-06", "2026-11-07"]),
    ("Ab Montag bin ich zurück.", ["2026-11-09"]),
    ("Ich befinde mich bis einschl. 6.11. im Urlaub.", ["2026-11-07"]),
    ("Am 9.11. bin ich wieder im Büro.", ["2026-11-09"]),
    ("Urlaub bis 06.11.26", ["2026-11-06", "2026-11-07"]),
    ("Wir haben vom 24.12.2026 bis 03.01.2027 Betriebsferien.", ["2027-01-03", "2027-01-04"]),
    ("Ich bin im Urlaub und ab dem 09.11. wieder erreichbar.", ["2026-11-09"]),
    ("Bin im Mutterschutz und komme im Juni 2027 wieder.", [None]),
    ("Je suis absent du 3 au 6 novembre inclus.", ["2026-11-07"]),
    ("De retour lundi 9 novembre.", ["2026-11-09"]),
    ("Je suis en congés jusqu'au 9 novembre.", ["2026-11-09"]),
    ("Absente du 02/11 au 13/11.", ["2026-11-13", "2026-11-14"]),
    ("Je serai absente jusqu'à lundi.", ["2026-11-09"]),
    ("Retour le 9/11/2026.", ["2026-11-09", None]),
    ("Je reviens le 1er décembre.", ["2026-12-01"]),
    ("Estoy fuera hasta el lunes 9 de noviembre.", ["2026-11-09"]),
    ("Estaré de vuelta el 9 de noviembre.", ["2026-11-09"]),
    ("Vacaciones del 3 al 6 de noviembre, ambos inclusive.", ["2026-11-07"]),
    ("Me reincorporo el próximo lunes.", ["2026-11-09"]),
    ("Ausente hasta el 13/11/2026.", ["2026-11-13", "2026-11-14"]),
    ("Ik ben afwezig t/m vrijdag 6 november.", ["2026-11-07"]),
    ("Ik ben maandag 9 november weer aanwezig.", ["2026-11-09"]),
    ("Met vakantie tot 9 november.", ["2026-11-09"]),
    ("Van 3 november tot en met 6 november ben ik er niet.", ["2026-11-07"]),
    ("Ik ben weer op kantoor op 9-11-2026.", ["2026-11-09", None]),
    ("Sono assente fino a lunedì 9 novembre.", ["2026-11-09"]),
    ("Rientro il 9 novembre.", ["2026-11-09"]),
    ("In ferie dal 3 al 6 novembre compresi.", ["2026-11-07"]),
    ("Sarò di nuovo in ufficio il 9/11.", ["2026-11-09", None]),
    ("Torno lunedì.", ["2026-11-09"]),
    ("Estou de férias até 6 de novembro (inclusive).", ["2026-11-07"]),
    ("Regresso no dia 9 de novembro.", ["2026-11-09"]),
    ("Ausente de 3 a 6 de novembro.", ["2026-11-06", "2026-11-07"]),
    ("Volto na segunda-feira.", ["2026-11-09"]),
    ("Estarei fora até dia 9 de novembro.", ["2026-11-09"]),
    ("Retorno em 09/11/2026.", ["2026-11-09", None]),
    ("I have been away since 2 November, with little access.", [None]),
    ("I started on 1 October 2026 as head of sales and am travelling today.", [None]),
    ("Out today, 4 November.", [None, "2026-11-05"]),
    ("Office hours 9-12. I am on holiday.", [None]),
]


@pytest.mark.parametrize("text", LEFT)
def test_a_program_tells_that_somebody_has_left(text: str) -> None:
    assert verdict_on(text).kind is MailKind.HAS_LEFT


@pytest.mark.parametrize("text", AWAY)
def test_a_program_tells_that_somebody_is_away(text: str) -> None:
    assert verdict_on(text).kind is MailKind.ABSENCE


@pytest.mark.parametrize("text", RECEIVED)
@pytest.mark.parametrize("program", [True, False])
def test_a_program_confirms_that_a_mail_came_in(text: str, program: bool) -> None:
    assert verdict_on(text, sender="Example Support <support@example.com>", program=program).kind is MailKind.AUTO_REPLY


@pytest.mark.parametrize("text", TOLD_BY_A_COLLEAGUE)
def test_a_colleague_tells_that_somebody_has_left(text: str) -> None:
    verdict = verdict_on(text + QUOTE, sender="Tom Lee <tom.lee@example.com>", program=False)
    assert verdict.kind is MailKind.HAS_LEFT
    assert verdict.successor == ("tom@example.com" if "tom@" in text else None)


@pytest.mark.parametrize("text", PERSONS)
def test_who_speaks_of_somebody_or_something_else_is_a_person(text: str) -> None:
    assert verdict_on(text + QUOTE, program=False).kind is MailKind.HUMAN


@pytest.mark.parametrize(("text", "days"), DAYS)
def test_the_day_of_return_is_read_as_it_is_written(text: str, days: list[str | None]) -> None:
    verdict = verdict_on(text)
    assert verdict.kind is MailKind.ABSENCE
    assert (verdict.until and verdict.until.isoformat()) in days
