"""Lines with which mail programs introduce a quote, a forwarded mail or a signature, in many languages.

They are given in lower case, since to ignore case takes three times as long; but not those for HEADER_FROM, SIGN_OFF,
POSTSCRIPT and CONTACT.
"""

import re
from typing import Final

from db.domain.mail.patterns import any_of

INTRO_CHARACTERS: Final = 700
INTRO_LINES: Final = 6

_VERBS: Final = (
    r"(?:wrote|writes|said|sent|a écrit|a ecrit|écrivait|schrieb|geschrieben|geschreven|schreef|skrev"
    r"|escribió|escribio|ha escrito|ha scritto|scrisse|escreveu|pisze"
    r"|napisał(?:\(a\)|a|/a)?|napsal(?:\(a\)|a|/a)?|kirjoitti|написал(?:\(а\)|а|/а)?|пишет|писал(?:\(а\)|а)?"
    r"|пише|написав(?:\(ла\)|ла)?|写道|寫道|写|のメール|書きました|による|yazdı|írta|a scris|작성|đã viết)"
)
_ENDS: Final = any_of(
    r"""
    wrote|writes|said|sent|a écrit|a ecrit|écrivait|schrieb|geschrieben|geschreven|schreef|skrev|escribió
    escribio|ha escrito|ha scritto|scrisse|escreveu|pisze|napisał(?:\(a\)|a|/a)?|napsal(?:\(a\)|a|/a)?|kirjoitti
    написал(?:\(а\)|а|/а)?|пишет|писал(?:\(а\)|а)?|пише|написав(?:\(ла\)|ла)?|写道|寫道|写|のメール|書きました|による|yazdı|írta
    a scris|작성|đã viết
    """,
    before=r"^[\W_]*(?=.*(?:\d|@)).{2,}?",
    after=r"(?:(?:\s|[*_(])[^\n]{0,160}?)?\s*(?:[:：]\s*[*_>]*|-{2,})\s*$",
    flags=re.DOTALL,
)
# Gmail of 2013: `2013/7/20 sam via Discourse <info@example.com>`; of 2016: `2016-03-03 17:21 GMT+01:00 Some One`.
_DATED: Final = any_of(
    r"""
    ^\W{0,3}(?:\w{2,12}\.?,? )?(?:\d{4}[-/.年]\s?\d{1,2}[-/.月]\s?\d{1,2}日?|\
        \d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})(?:[^\n]{0,120}<\s?[^<>\s]+@[^<>\s]+>\s*[:：]?|\
        ,? \d{1,2}:\d{2}(?::\d{2})? (?:gmt|utc)[-+]?[\d:]{0,6} [^\n]{1,80})\s*$
    ^[^\n]{4,80}?\b\d{1,2}[:.]\d{2}\b[^\n]{1,120}<[^<>\s]+@[^<>\s]+>\s?[:：]\s*$
    """,
    flags=re.NOFLAG,
)
_BARE_END: Final = re.compile(rf"[^\s@<>]@[^\s@<>]+>?\)?,? {_VERBS}$")
_TIME_ENDS: Final = re.compile(r"\d{1,2}[:.]\d{2}\W{0,3}[:：]\s*$")
_DATE_BEGINS: Final = any_of(
    r"""
    (?:on|at|le|el|il|em|no dia|a|op|am|um|den|dne|dnia|w dniu|в|у|от|від|在|于|於|mon|tue|wed|thu|fri|sat|sun|ma|\
        ti|ke|to|pe|la|su|tis|ons|tor|fre|lör|sön|lun|mar|mer|gio|ven|sab|dom|пн|вт|ср|чт|пт|сб|вс|нд|po|út|st|\
        čt|pá|so|ne|pon|wt|śr|czw|pt|sob|ndz?|man|lør)\b\D{0,40}\d
    \d{1,4}[-/.年. ]
    """,
    before=r"^\W{0,6}",
    flags=re.NOFLAG,
)
_NAME_BEGINS: Final = re.compile(rf"^[^\n]{{0,160}}(?:[^\s<>]@[^\s<>]|\b{_VERBS})")
_INTRO_ENDS: Final = (":", "\uff1a", "--", "*", "_", ": >")


def is_intro(text: str) -> bool:
    """Returns whether the text (one line, or several joined ones) introduces a quote: it has a date or an address, and
    a verb."""
    text = text.strip()
    if not 8 <= len(text) <= INTRO_CHARACTERS:
        return False
    if _BARE_END.search(text) and _DATE_BEGINS.match(text):
        return True
    ends = text.endswith(_INTRO_ENDS) and _ENDS.match(text) is not None
    return ends or _DATED.match(text) is not None


def may_introduce(line: str) -> bool:
    """Returns whether a text that `is_intro` may end with this line, or hold it. Most lines may not."""
    return line.rstrip().endswith(_INTRO_ENDS) or "@" in line or "gmt" in line or "utc" in line


def begins_with_date(line: str) -> bool:
    """Returns whether an introduction may begin with this line, as most do: `On 3 May 2016`."""
    return len(line) <= INTRO_CHARACTERS and _DATE_BEGINS.match(line) is not None


def begins_with_name(line: str) -> bool:
    """Returns whether an introduction may begin with this line, as few do: `Ann Smith <ann@example.com> wrote on 3
    May:`."""
    return len(line) <= INTRO_CHARACTERS and _NAME_BEGINS.match(line) is not None


def ends_with_time(text: str) -> bool:
    """Returns whether the text ends like an introduction by name: `Ann Smith wrote on 4-5-2026 at 09:15:`."""
    return _TIME_ENDS.search(text) is not None


_HEADER_NAMES: Final = (
    "from|sent|date|to|cc|bcc|subject|reply-to|von|gesendet|datum|an|kopie|betreff|antwort an|de|envoyé"
    "|date d'envoi|à|objet|répondre à|enviado(?: el)?|fecha|para|asunto|da|inviato|data|a|oggetto"
    "|risposta|van|verzonden|aan|onderwerp|enviada(?: em)?|assunto|od|odesílatel|wysłano|do|temat|wysłane|от"
    "|отправлено|дата|кому|тема|копия|від|надіслано|från|skickat|till|ämne|kopia|fra|sendt|dato|til|emne|kopi"
    "|lähettäjä|lähetetty|vastaanottaja|päivämäärä|aihe|kopio|odesláno|komu|předmět|kopie|发件人|发送时间|收件人|抄送|主题"
    "|日期|寄件者|收件者|主旨|差出人|送信日時|宛先|件名|日時|送信者|importance|priority|attachments?"
)
HEADER: Final = any_of(
    r"""
    from|sent|date|to|cc|bcc|subject|reply-to|von|gesendet|datum|an|kopie|betreff|antwort an|de|envoyé
    date d'envoi|à|objet|répondre à|enviado(?: el)?|fecha|para|asunto|da|inviato|data|a|oggetto|risposta|van
    verzonden|aan|onderwerp|enviada(?: em)?|assunto|od|odesílatel|wysłano|do|temat|wysłane|от|отправлено|дата
    кому|тема|копия|від|надіслано|från|skickat|till|ämne|kopia|fra|sendt|dato|til|emne|kopi|lähettäjä|lähetetty
    vastaanottaja|päivämäärä|aihe|kopio|odesláno|komu|předmět|kopie|发件人|发送时间|收件人|抄送|主题|日期|寄件者|收件者|主旨|差出人|送信日時|宛先
    件名|日時|送信者|importance|priority|attachments?
    """,
    before=r"^\s*+[*_>]{0,2}\s*+",
    after=r"\s?[*_]{0,2}\s?[:：][*_]{0,2}(?:\s|$|(?=\S))",
    flags=re.NOFLAG,
)
HEADER_FROM: Final = any_of(
    r"""
    ^\s*+[*_>]{0,2}\s*+(?:from|von|de|da|van|od|odesílatel|от|від|från|fra|lähettäjä|发件人|寄件者|差出人|\
        送信者)\s?[*_]{0,2}\s?[:：]
    """,
)

ORIGINAL: Final = any_of(
    r"""
    original (?:message|appointment|mail)|forwarded (?:message|by)|begin forwarded message
    ursprüngliche nachricht|originalnachricht|weitergeleitete nachricht
    anfang der weitergeleiteten (?:nachricht|e-mail)
    message d'origine|message original|message transféré|message réexpédié
    début du message (?:transféré|réexpédié)|mensaje original|mensaje reenviado|inicio del mensaje reenviado
    messaggio originale|messaggio inoltrato|inizio messaggio inoltrato|oorspronkelijk bericht
    doorgestuurd bericht|begin doorgestuurd bericht
    mensagem original|mensagem encaminhada|início da mensagem (?:encaminhada|reenviada)|wiadomość oryginalna
    oryginalna wiadomość|przekazana wiadomość|исходное сообщение|пересылаемое сообщение
    переадресованное сообщение|оригінальне повідомлення|ursprungligt meddelande
    vidarebefordrat (?:brev|meddelande)|opprinnelig melding|videresendt melding|original meddelelse
    oprindelig meddelelse|videresendt meddelelse
    alkuperäinen viesti|välitetty viesti|původní zpráva|přeposlaná zpráva|原始邮件|原始郵件|转发的邮件
    转发邮件|元のメッセージ|転送されたメッセージ
    posted by .{2,80} on \d.{4,20}|(?:quoting|zitat von|quote from|citando|citation de|cita de)\b.{2,120}
    (?:##- )?.{0,20}(?:type|write|enter|reply)[\w ]{0,24} above this line
    """,
    before=r"^[\s>*|#]*(?:[-_=]{1,}\s*)?(?:begin )?",
    after=r"(?:\s*[-_=#]{2,}|[\s:：]*$)",
    flags=re.NOFLAG,
)

DELIMITER: Final = re.compile(r"^\s*+(?:[-_,=+~#*\u1427\u2014\u2013\u2500\u2501]++\s*+){1,6}$")

DEVICE: Final = any_of(
    r"""
    \(?sent (?:with|via|using) (?:my |the |an? )?(?:\w+ )?(?:iphone|ipad|phone|mobile|blackberry|android|mail|airmail|\
        outlook|gmail|yahoo|proton|tutanota|spark|superhuman|thunderbird|mailbird|shift|polymail|mimestream|boxer)\b.{0,60}
    .{0,30}\boutlook (?:für|para|per|voor|pour|for|på|til|dla|для|pro) (?:ios|android)\b.{0,60}
    get outlook for [\w<>:/. \[\]()-]{2,80}|get outlook.{0,60}|sent from .{2,60}
    envoyé (?:de|depuis|à partir) .{2,60}|obtenir outlook .{2,60}|télécharg.{0,10} outlook .{0,60}
    (?:von|vom) .{2,40} gesendet.{0,40}|gesendet (?:von|mit|über|aus) .{2,60}
    diese nachricht wurde von .{2,60} gesendet.?
    enviad[oa] (?:desde|de|do|a partir|con|pelo) .{2,60}|obtener outlook .{2,60}|inviato (?:da|dal|con) .{2,60}
    scarica outlook .{2,60}|verzonden (?:vanaf|met|via|vanuit) .{2,60}|verstuurd vanaf .{2,60}
    wysłan[eoa] z .{2,60}|отправлено (?:с|из) .{2,60}|надіслано з .{2,60}|skickat från .{2,60}
    sendt (?:fra|med) .{2,60}|lähetetty .{2,60}|odesláno z .{2,60}|发自我的.{1,40}|從我的.{1,40}|.{1,20}から送信.{0,10}
    nadesłane z .{2,60}
    this message was sent from my .{2,60}
    """,
    before=r"^\W{0,6}",
    after=r"$",
    flags=re.NOFLAG,
)

DISCLAIMER: Final = any_of(
    r"""
    (?:this|the) (?:e-?mail|message|communication|transmission|information)(?: \(?(?:and|including|contained|\
        transmitted|sent|may|is|message|communication)\b|,)[^\n]{0,160}?(?:confidential|intended|privileged|\
        attachments?|disclos|virus)
    confidential(?:ity)? (?:notice|note|statement)|(?:legal )?disclaimer\b|important notice\b
    notice of confidentiality|(?:p )?please (?:consider|think of) the environment|think before you print
    bitte (?:prüfen|denken|bedenken) sie[^\n]{0,60}(?:umwelt|druck)|pensez à l'environnement|antes de imprimir
    prima di stampare|denk aan het milieu|(?:diese e-?mail|this e-?mail|ce courriel)[^\n]{0,60}(?:viren|virus)
    virenfrei\b|virus-free\b|sans virus\b|save a tree
    diese (?:e-?mail|nachricht)[^\n]{0,120}?(?:vertraulich|bestimmt|empfänger)|der inhalt dieser e-?mail
    vertraulichkeitshinweis|haftungsausschluss
    ce (?:message|courriel|mail)[^\n]{0,120}?(?:confidentiel|destinataire|pièces jointes|protégées)
    avis de confidentialité|este (?:mensaje|correo|e-?mail)[^\n]{0,120}?(?:confidencial|destinatari)
    aviso (?:legal|de confidencialidad(?:e)?)|esta mensagem[^\n]{0,120}?(?:confidencia|destinat)
    (?:questo messaggio|questa e-?mail|le informazioni contenute)[^\n]{0,120}?(?:riservat|confidenzial|destinatari)
    dit (?:bericht|e-?mailbericht)[^\n]{0,120}?(?:vertrouwelijk|bestemd|geadresseerde)
    deze e-?mail[^\n]{0,120}?(?:vertrouwelijk|bestemd)
    de informatie (?:in|verzonden)[^\n]{0,120}?(?:vertrouwelijk|bestemd)
    """,
    before=r"^\W{0,6}",
    flags=re.NOFLAG,
)

FOOTER: Final = any_of(
    r"""
    you(?:'re| are)? (?:received|receiving|got) (?:this|because)
    to (?:unsubscribe|respond|reply|stop receiving|opt out)\b[^\n]{0,40}(?:from|,|reply|visit|click|send)
    to view this discussion|reply to this email directly|view it on github|unsubscribe(?: here)?\W*$
    abbestellen\W*$|se désabonner\W*$|if you (?:no longer|don't|do not) (?:wish|want) to (?:receive|get)
    """,
    before=r"^\W{0,6}",
    flags=re.NOFLAG,
)

SIGN_OFF: Final = any_of(
    r"""
    (?:best|kind|warm|many)(?:est)?(?: regards| wishes| greetings)?|regards
    thanks(?: again| a lot| and regards| in advance| & regards)?|thank you(?: very much)?|cheers
    sincerely(?: yours)?|yours(?: sincerely| truly| faithfully)?|br|kr|all the best
    (?:mit )?(?:freundlichen?|besten?|herzlichen?|schönen?|lieben?|viele[nr]?) gr(?:ü|u|ue)(?:ß|ss)(?:en?)?|mfg
    vg|lg|danke|cordialement|bien (?:cordialement|à vous)|cdlt|sincères salutations|merci
    (?:un )?saludos?(?: cordial(?:es)?)?|(?:un )?cordial(?:es)? saludos?|atentamente|gracias
    met vriendelijke groet(?:en)?|vriendelijke groet(?:en)?|mvg|groet(?:en|jes)?|cordiali saluti
    (?:cordiali|distinti|un) salut[io]|grazie|atenciosamente|cumprimentos|(?:com os )?melhores cumprimentos
    abraços?|obrigad[oa]
    """,
    before=r"^\W{0,2}",
    after=r"\s*[,.!]?\s*$",
)
POSTSCRIPT: Final = re.compile(r"^\W{0,2}(?:p\.? ?s\b|n\.? ?b\b)", re.IGNORECASE)
CONTACT: Final = any_of(
    r"""
    (?:t|m|f|p|tel|phone|mobile|mob|fax|handy|telefon|telefoon|tél|tfno|móvil|cell|direct|office|e-?mail|mail|\
        web|www)\b[ .:]{1,3}\S
    \+\d[\d ()./-]{6,}\d|https?://\S+$|www\.\S+$|[^\s@]+@[^\s@]+\.\w+$
    """,
    before=r"^",
)
