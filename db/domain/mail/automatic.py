"""Decides whether a program wrote a mail: by its headers (RFC 3834 and older practice), its subject, or its words."""

import re
from typing import Final

from db.domain.mail.message import ParsedMail, is_answer, is_of_a_person
from db.domain.mail.patterns import WORD_BEGINS, any_of
from db.domain.mail.sentences import lowered_sentences_of, sentences_of
from db.domain.mail.unsubscribe_mails import token_in
from db.domain.mail.verdict import Reason

_SUBJECT: Final = any_of(
    r"""
    automatic reply|auto(?:matic)?[- ]?(?:reply|response|responder|antwort|svar)|auto:|out of (?:the )?office
    ooo\b|out of office autoreply|away from|on (?:vacation|leave|holiday)|vacation (?:reply|response|message)
    automatische (?:antwort|e-mail)|abwesen(?:d|heit)\w*|abwesenheitsnotiz|réponse automatique|réponse d'absence
    absence\b|message d'absence|absent|respuesta automática|fuera de (?:la )?oficina|ausencia
    risposta automatica|fuori (?:ufficio|sede)|assenza
    automatisch antwoord|automatische (?:beantwoording|reactie)|afwezig\w*|niet (?:op kantoor|aanwezig)
    resposta automática|fora do escritório|ausência|autosvar|automatisk svar|automaattinen vastaus|poissaolo
    odpowiedź automatyczna|automatická odpověď|автоматический ответ|автоответ|自动回复|自動返信|不在通知
    """,
    before=r"^\W{0,4}",
)
_SAYS_SO: Final = any_of(
    r"""
    (?:sent|generated|created) automatically
    automatic(?:ally)?[- ](?:generated|reply|response|message|sent|e-?mail|answer|notification)
    auto-?(?:generated|reply|response)|this is an automated|automated (?:reply|message|response|e-?mail)
    do not reply to this|please do not reply|(?:un)?monitored mailbox|no-?reply
    automatisch (?:erstellt|generiert|erzeugt|versendet|verschickt|gesendet|gegenereerd|bericht|antwoord|\
        aangemaakt|verstuurd|verzonden)
    automatische (?:antwort|nachricht|e-mail|reply|melding)|antworten sie (?:bitte )?nicht auf diese
    (?:message|réponse|courriel|mail) (?:\w+ )?automatique|généré automatiquement|envoyé automatiquement
    ne pas répondre à ce|(?:mensaje|respuesta|correo) (?:\w+ )?automátic[oa]|generad[oa] automáticamente
    no responda a este|(?:messaggio|risposta|e-?mail) (?:\w+ )?automatic[oa]|generat[oa] automaticamente
    non rispondere a quest|(?:mensagem|resposta|e-?mail) (?:\w+ )?automátic[oa]|gerad[oa] automaticamente
    enviad[oa] automaticamente|não responda a est
    """,
    before=WORD_BEGINS,
    flags=re.NOFLAG,
)
_ROBOT: Final = any_of(
    r"""
    no-?_?reply|do-?not-?reply|support|help|help-?desk|service-?desk|tickets?|notifications?|auto-?\w*|robot|bot
    verif\w*|challenge|filter|filtro|antispam|info|hello|hallo|contact\w*|kontakt\w*|office|service
    kundenservice|customer\w*|soporte|asistencia|assist\w*|sav|clienti|apoio|suporte|klantenservice|bewerbung
    jobs|careers|sales|team|billing|accounts?
    """,
    before=r"^",
    after=r"@",
)
_RECEIVED: Final = any_of(
    r"""
    # English
    \bticket\b|mailbox only|only accepts?|will be discarded|discarded unread|vorgang|accusé de réception
    recep?ção|acknowledg|\b(?:we|our team) (?:will|aim to|try to) (?:respond|reply|get back|answer|be in touch)
    get back to you|\[(?:ticket|case|req|request|incident|#)|#\s?\d{3,}
    \b(?:case|incident|request|reference|ticket|enquiry) (?:id|no\.?|number|#)?\s?[#:]?\s?\w*\d{3,}
    has been (?:received|logged|opened|created|registered|assigned)
    (?:we|have|we've) (?:have )?(?:\w+ )?(?:received|got|logged) your (?:e-?mail|message|request|enquiry|\
        inquiry|note|application|mail|ticket)
    we got your
    thank(?:s| you) for (?:contacting|reaching out|getting in touch|your (?:e-?mail|message|enquiry|inquiry|\
        request|interest|application))
    (?:business|opening|office) hours|within (?:\w+ )?\w+ (?:business |working )?(?:hours|days)
    as soon as possible|working day|shortly
    # German
    vorgang|ticketnummer|eingangsbestätigung
    (?:ihre|deine) (?:anfrage|nachricht|e-?mail|mail|bewerbung|unterlagen)\b.{0,60}(?:erhalten|eingegangen|\
        eingetroffen|bearbeite|registriert|prüfen)
    (?:haben|bestätigen) .{0,40}(?:anfrage|nachricht|e-?mail|schreiben)|dank für (?:ihre|deine|ihr|die)
    wir (?:melden uns|kümmern uns|prüfen|bearbeiten)|bearbeitungsnummer|geschäftszeiten|öffnungszeiten|werktag
    # French
    votre (?:demande|message|mail|courriel|e-mail|candidature)\b.{0,60}(?:reçu|enregistr|pris|traité|bien)
    (?:avons|accusons) .{0,20}re(?:çu|ception|ception)|réception de votre|merci (?:de|pour) votre
    dans les (?:meilleurs|plus brefs)|sous \d+ ?(?:h|jours)|jours ouvr|(?:demande|dossier) n
    # Spanish
    (?:hemos|su) (?:recibido|solicitud|consulta|mensaje|correo)\b
    gracias por (?:su|tu|contactar|escribir|ponerse)
    (?:solicitud|incidencia|consulta|caso)\b.{0,40}(?:\d{3,}|registrad|recibid)|días (?:hábiles|laborables)
    lo antes posible|horario de
    # Dutch
    (?:abbiamo|ha) ricevuto|la (?:sua|tua) (?:richiesta|segnalazione|e-?mail|candidatura|messaggio)|segnalazione
    grazie per (?:averci|il|la|aver)|giorni lavorativi|il prima possibile|al più presto|orari di
    # Italian
    (?:uw|je|jouw) (?:bericht|e-?mail|vraag|aanvraag|verzoek|melding|mail)\b.{0,60}(?:ontvangen|geregistreerd|\
        in behandeling|goede orde|aangemaakt)
    (?:hebben|is er|er is) .{0,30}(?:ontvangen|aangemaakt)|(?:bedankt|dank) voor (?:uw|je|het)|werkdag
    zo (?:snel|spoedig) mogelijk|openingstijden
    # Portuguese
    (?:recebemos|seu pedido|o seu pedido|a sua (?:mensagem|solicitação|candidatura)|sua solicitação|\
        seu chamado|chamado)\b
    obrigad[oa] (?:por|pelo|pela)|dias úteis|o mais (?:breve|rápido) possível|horário de
    """,
    before=WORD_BEGINS,
    flags=re.NOFLAG,
)
_CHALLENGE: Final = any_of(
    r"""
    not a robot|you(?:'re| are) (?:a )?human|held|quarantine|release|verify (?:your|that|you)
    confirm (?:your|that you|you)|to deliver your|whitelist|approved senders?|kein roboter|zurückgehalten
    bestätigen sie|freigeben|pas un robot|retenu|en attente|confirmez|no es un robot|retenido|confirme|liberar
    in attesa|conferm|non è un robot|robot|vastgehouden|bevestig|retida|retido|aguarda
    """,
    before=WORD_BEGINS,
    flags=re.NOFLAG,
)
_RECEIPT: Final = any_of(
    r"""
    read:|return receipt|gelesen:|lu ?:|lu\(s\)|leído:|letto:|gelezen:|lida?:|not read:|ungelesen
    confirmation de lecture|lesebestätigung|conferma di lettura|leesbevestiging|confirmação de leitura
    confirmación de lectura|read receipt|delivered:|relayed:
    """,
    before=r"^\W{0,3}",
)
_SHIPPED: Final = any_of(
    r"""
    \binvoice\b|\border\b|\bshipp|\bparcel|deliver(?:y|ed) (?:today|tomorrow)|sendung|paket|rechnung|bestellung
    facture|commande|relevé|extrait|extracto|estratto|extrato|afschrift|kontoauszug|statement|colis|factura
    pedido n|envío|fattura|spedizione|pacco|ordine|factuur|bestelling|pakket|fatura|encomenda|password|passwort
    security alert|newsletter|login|sign-?in|subscription|verification code
    """,
    before=WORD_BEGINS,
)

_BUTTON_CHARACTERS: Final = 300


def written_by_a_program(mail: ParsedMail) -> Reason | None:
    """Returns the header or the subject that shows that a program wrote the mail. Headers that people's mail programs
    also set don't count: `Precedence: bulk`, and X-Auto-Response-Suppress."""
    submitted = mail.header("auto-submitted").strip().lower()
    if submitted and not submitted.startswith("no"):
        return Reason.of("auto_submitted", f"Auto-Submitted: {submitted}")
    for name in (
        "x-autoreply",
        "x-autorespond",
        "x-autoresponder",
        "x-auto-reply",
        "x-mail-autoreply",
        "x-autoreply-from",
        "x-vacation",
        "x-away",
    ):
        if mail.has(name):
            return Reason.of("autoreply_header", f"{name}: {mail.header(name)}")
    if mail.header("precedence").strip().lower() in ("auto_reply", "auto-reply"):
        return Reason.of("autoreply_header", f"Precedence: {mail.header('precedence')}")
    if _SUBJECT.match(mail.subject):
        return Reason.of("autoreply_subject", mail.subject)
    if mail.header("return-path").strip() == "<>":
        return Reason.of("null_sender", "Return-Path: <>")
    return None


def unsubscribes(mail: ParsedMail) -> Reason | None:
    """Returns whether a mail program sent this to the address in List-Unsubscribe, after a person pressed its
    unsubscribe button."""
    if mail.has("x-apple-unsubscribe"):
        return Reason.of("unsubscribe_header", mail.subject)
    if token_in(mail.subject) is not None:
        return Reason.of("unsubscribe_link", mail.subject)
    is_short = len(mail.text) <= _BUTTON_CHARACTERS and ">" not in mail.text
    is_asked = mail.subject.strip().lower() == "unsubscribe" and is_short and written_by_a_program(mail) is not None
    return Reason.of("unsubscribe_button", mail.subject) if is_asked else None


def says_that_a_program_wrote(text: str) -> Reason | None:
    """Returns the sentence in which the text itself says that a program wrote it."""
    for sentence, lowered in zip(sentences_of(text), lowered_sentences_of(text), strict=True):
        if _SAYS_SO.search(lowered):
            return Reason.of("says_it_is_automatic", sentence)
    return None


def confirms_receipt(mail: ParsedMail, text: str) -> Reason | None:
    """Returns the sentence in which a program confirms receipt of a mail, or asks for proof that a person wrote it."""
    sentences = (mail.subject, *sentences_of(text))
    for sentence, lowered in zip(sentences, (mail.subject.lower(), *lowered_sentences_of(text)), strict=True):
        if _RECEIVED.search(lowered):
            return Reason.of("words_of_receipt", sentence)
        if _CHALLENGE.search(lowered):
            return Reason.of("words_of_a_challenge", sentence)
    return None


def is_receipt(mail: ParsedMail) -> Reason | None:
    """Returns whether the mail is a receipt: a mail program reports that a mail was shown or deleted (RFC 8098)."""
    if mail.disposition or mail.report_type == "disposition-notification":
        return Reason.of(
            "read_receipt",
            next((f"{name}: {value}" for name, value in mail.disposition if name == "disposition"), mail.subject),
        )
    return (
        Reason.of("read_receipt_subject", mail.subject)
        if _RECEIPT.match(mail.subject) and not mail.references
        else None
    )


def is_from_a_desk(mail: ParsedMail) -> bool:
    """Returns whether the address is one at which programs answer, such as `support@`, and not a person's."""
    return _ROBOT.match(mail.sender.address) is not None or not is_of_a_person(mail.sender)


def is_notice(mail: ParsedMail) -> Reason | None:
    """Returns why the mail is nobody's answer: it goes to many, or comes from a shop or a list."""
    if is_answer(mail):
        return None
    if mail.has("list-id") or mail.has("list-unsubscribe") or mail.has("list-post"):
        return Reason.of("list_header", f"List-Id: {mail.header('list-id') or mail.header('list-unsubscribe')}")
    if not is_of_a_person(mail.sender) and _SHIPPED.search(f"{mail.subject}\n{mail.text[:2_000]}"):
        return Reason.of("notice_words", mail.subject)
    return None
