"""Words of automatic answers that say who is away, who has left, and when somebody is back.

AWAY and LEFT are for texts in lower case: to ignore case in the pattern takes three times as long.
"""

import re
from typing import Final

from db.domain.mail.patterns import WORD_BEGINS, any_of

AWAY: Final = any_of(
    r"""
    # English
    out[ -]of[ -](?:the |my |our )?office(?! hours)|ooo\b|away from (?:the|my) (?:office|desk|e-?mail|\
        computer|work)
    on (?:annual |maternity |paternity |parental |sick |medical |business |vacation |summer |\
        extended )*(?:leave|vacation|holidays?|pto|sabbatical|travel|a business trip|a trip)\b
    # German
    (?:currently|presently) (?:away|travel+ing|unavailable|out|off)\b|not in the office
    (?:i am|i'm|i will be|i'll be|will be|we are|is) (?:\w+ ){0,2}(?:away|off sick|out|unavailable|off|\
        offline|travel+ing) (?:until|till|from|through|on|this|today|for|and|with|at|of|between|as)\b
    (?:limited|no|sporadic|intermittent|restricted|only occasional) (?:or no )?access to (?:my )?(?:e-?mails?|\
        inbox|internet)
    return(?:ing)? to (?:the |my )?(?:office|work|desk)|back (?:in|at) (?:the|my) (?:office|desk)
    (?:our|the) offices? (?:is|are|will be) closed|annual leave\b|parental leave|maternity leave
    # French
    nicht im (?:büro|buero|haus|hause|dienst)|außer haus|ausser haus|abwesen(?:d|heit)|im urlaub\b|urlaub\b
    nicht (?:persönlich )?(?:erreichbar|anwesend|am arbeitsplatz|verfügbar)|dienstreise|geschäftsreise
    elternzeit|mutterschutz|krankgeschrieben
    wieder (?:im büro|im haus|erreichbar|für sie da|da|zurück|persönlich)|betriebsferien
    bin erst (?:wieder )?(?:am|ab)|nicht an meinem (?:arbeits|platz)|unterwegs und|keinen zugriff auf
    begrenzten zugriff
    # Spanish
    absente?s?\b|absence\b|en congés?\b|congés?\b|en vacances|hors du bureau
    de retour (?:le|au bureau|à partir|lundi|mardi|mercredi|jeudi|vendredi|dès)|en déplacement|indisponible
    pas (?:disponible|joignable|au bureau)|injoignable|arrêt maladie
    # Dutch
    fuera de (?:la |mi )?oficina|ausente\b|de vacaciones|vacaciones\b|estaré fuera|estoy fuera
    no est(?:aré|oy) (?:disponible|en la oficina)|de baja (?:médica|por|maternal|laboral)
    baja (?:médica|maternal|paternal)|mi ausencia|de viaje|permiso (?:de |por )
    # Italian
    afwezig|niet (?:aanwezig|op kantoor|bereikbaar|in de gelegenheid)|buiten kantoor
    (?:met|op|van) (?:vakantie|verlof)|vakantie\b|zwangerschapsverlof|ouderschapsverlof
    weer (?:aanwezig|bereikbaar|op kantoor|terug)|ziekteverlof
    # Portuguese
    fuori (?:ufficio|sede)|assente\b|in ferie\b|ferie\b|in vacanza
    non (?:sono|sarò) (?:in ufficio|disponibile|raggiungibile)|in maternità|congedo|mia assenza|rientr(?:o|erò)
    in trasferta|in malattia
    # others
    fora do escritório|fora da empresa|de férias|em férias|férias\b|de licença
    licença (?:maternidade|paternidade|médica|de)|estarei (?:de volta|fora|ausente)|estou (?:fora|ausente)
    não est(?:arei|ou) (?:disponível|no escritório)|minha ausência|em viagem|baixa médica
    # others
    nieobecn|na urlopie|в отпуске|отсутству|командировк|у відпустці|frånvarande|på semester|inte på kontoret
    ledig till|fraværende|på ferie|ferie til|lomalla|poissa toimistolta|dovolen|nepřítom|mimo kancelář|休假|出差
    不在办公室|休暇|不在にして
    """,
    before=WORD_BEGINS,
    flags=re.NOFLAG,
)

LEFT: Final = any_of(
    r"""
    # English
    no longer (?:with (?:the |our |this )?(?:\w+)|at (?!my desk|the office)\w+|employed|part of|works? (?:for|\
        at|here|with us|with the|there)|working (?:for|at|here)|\
        an? (?:employee|member)|associated|in (?:this|the) (?:role|position)|monitored as|here\b)
    left us\b|(?:is|has) gone (?:from|since)
    moved (?:on )?to (?:another|a new|a different) (?:company|job|employer|role)
    no longer (?:employed|exists here)
    (?:has|have|had|'s) (?:now |recently |since |already )?left (?:the (?:company|organi[sz]ation|business|\
        firm|team|group)|us\b|our (?:company|team|organi[sz]ation|firm))
    left (?:the company|the organi[sz]ation|the business|the firm)
    (?:my|his|her|their) last (?:working )?day (?:at|with|in|was|is|of)|(?:have|has) moved on (?:from|to)
    moved on from|(?:has|have) (?:now )?retired|is now retired|retired (?:from|on|in)
    (?:doesn't|does not) work (?:here|for|at|with) ?\w* ?(?:any ?more|any longer)?|ceased (?:employment|to work)
    has departed|left my (?:position|role|job)
    (?:has |have )?retired (?:last|this|at|after)|(?:isn't|is not|aren't) (?:with|working (?:for|at|\
        with)) us (?:any ?more|any longer|now)
    former (?:employee|colleague|staff)|changed jobs|(?:has|have) (?:sadly )?passed away|\
        no longer have access to this mailbox
    # German
    nicht (?:mehr|länger) (?:bei uns|bei der|bei|im unternehmen|in unserem|für (?:uns|die|das|den)?|\
        in der firma|im haus|tätig|beschäftigt|teil)
    nicht mehr (?:\w+ ){0,5}(?:tätig|beschäftigt|angestellt)
    (?:das unternehmen|die firma|unser haus|unser unternehmen|uns) (?:\S+ ){0,4}verlassen|ausgeschieden|\
        \w*ruhestand\b|hat gekündigt|(?:arbeitgeber|stelle) gewechselt|verstorben
    ehemalige[rn]? (?:mitarbeiter|kolleg)
    hat uns verlassen|arbeitet nicht mehr|nicht mehr (?:im team|hier|da)\b|im ruhestand|in den ruhestand
    in rente\b|letzter arbeitstag
    # French
    a quitté (?:la société|l'entreprise|ses fonctions|notre (?:société|entreprise|équipe|groupe)|le groupe|\
        la compagnie|son poste)
    ai quitté (?:la société|l'entreprise|mes fonctions|mon poste|le groupe)|ne travaille plus
    ne fait plus partie|ne fais plus partie|n'est plus (?:en poste|parmi nous|dans l|salarié|chez|\
        joignable à cette)|changé (?:d'entreprise|de société|d'employeur)|décédée?\b
    à la retraite|pris sa retraite|est partie? (?:de|à|en) (?:l|la|notre|chez)|nous a quittés?
    plus (?:dans|au sein de) (?:l'entreprise|la société|nos effectifs)
    # Spanish
    ya no trabaj[ao]|ha dejado (?:la empresa|la compañía|de trabajar|de formar|nuestra)
    he dejado (?:la empresa|la compañía|de trabajar)|ya no (?:forma|formo) parte
    ya no está (?:en|con) (?:la empresa|nosotros|la compañía|nuestra)|se ha jubilado|se jubiló
    se (?:ha ido|fue|marchó|ha marchado) de (?:la|nuestra)|salió de la empresa|ya no (?:se encuentra|está)
    causado baja|dejó la (?:empresa|compañía)|no trabaja (?:ya|más)
    no (?:pertene[zc]\w+) (?:ya )?a (?:la|esta|nuestra)|cambiado de (?:empresa|trabajo)|fallec\w+|exempleado|\
        jubilad[oa]
    # Dutch
    werkt niet (?:meer|langer)|niet (?:langer|meer) (?:werkzaam|in dienst|bij ons|actief|verbonden)
    (?:het bedrijf|de organisatie|ons bedrijf|ons|onze organisatie) (?:\w+ ){0,2}verlaten|uit dienst\b
    met pensioen|werkt (?:hier|bij ons) niet (?:meer|langer)|heeft (?:\w+ ){1,3}verlaten|is vertrokken|\
        van baan veranderd|overleden|heeft ons verlaten|is (?:hier )?weg bij|niet meer bij (?:ons|het|de)|\
        laatste werkdag
    # Italian
    non lavor[ao] più|non collabor[ao] più|è andat[oa] in pensione|è andat[oa] via|\
        se n'è andat[oa]|cambiato (?:azienda|lavoro)|decedut[oa]|rapporto di lavoro\b|\
        collaborazione con .{1,40} conclusa|è uscit[oa] dall
    non è più (?:qui|da noi)|ha lasciato (?:l'azienda|la società|la nostra|il gruppo|l'incarico)
    ho lasciato (?:l'azienda|la società)|non (?:fa|faccio) più parte
    non è più (?:in azienda|presso|con noi|un nostro|dipendente)|in pensione\b|più in forza
    # Portuguese
    não trabalh[ao] mais|sa[ií]u da (?:empresa|companhia|nossa)|saiu (?:de|do) (?:cá|grupo|escritório)
    já (?:cá )?não (?:trabalha|colabora)|já não está cá|não colabora mais|já não trabalh[ao]
    deixou (?:a empresa|a companhia|de trabalhar|de fazer|o cargo)|deixei (?:a empresa|de trabalhar)
    não (?:faz|faço) mais parte|já não (?:faz|faço) parte|não está mais (?:na|conosco|em nossa)
    já não se encontra|deslig(?:ou|ad)|mudou de (?:empresa|emprego)|falec\w+|já (?:cá )?não está (?:cá|\
        connosco|na empresa)|aposentou|aposentad|reformou-se|não (?:integra|pertence) mais
    # others
    już nie pracuj|nie pracuje już|больше не работает|уволил|slutat (?:hos|på|i)|arbetar inte längre
    jobber ikke lenger|arbejder ikke længere|ei ole enää|již nepracuje|已离职|退職
    """,
    before=WORD_BEGINS,
    flags=re.NOFLAG,
)
LEFT_A_NAME: Final = any_of(
    r"""
    (?:has|have|had|'s) (?:now |recently |since |already )?left (?-i:[A-Z]\w+)
    a quitté (?-i:[A-Z]\w+)
    ha lasciato (?-i:[A-Z]\w+)
    """,
    before=WORD_BEGINS,
)
"""The company is named, so letters are as they were written."""

RETURN: Final = any_of(
    r"""
    (?:answer|answering|reply|replying|respond|responding|reading|working|reachable|available|contactable|\
        online) (?:again |to you |you |e-?mails? )*(?:from|on|as of|again)
    (?:answer|reply|respond|online|there|here|work)\w* again|i(?:'| wi)ll be back|will be back|be back|am back
    i'm back|\bback\b|return(?:ing|s)?\b|available again|resume|reachable again|in (?:the )?office again
    respond (?:to your (?:e-?mail|message) )?(?:on|from)|reply (?:on|from)
    wieder\b|zurück\b|zurueck\b|bin ich (?:erst )?ab|ab dem\b|erst (?:am|ab)|rückkehr|kehre|zurückkehre
    de retour|(?:mon|son) retour|retour (?:le|prévu|au)|reviens|reprend\w*|revenons|sommes de retour|reviendrai
    serai (?:de nouveau|à nouveau)|rentr(?:e|erai)|à partir du|de vuelta|regres(?:o|aré|e)|vuelv[oa]|volveré
    me (?:re)?incorpor\w+|nos (?:re)?incorpor\w+|regresamos|volvemos|operativ[oa]|reincorporación|a partir del
    terug\b|terugkeer\b|weer\b|hervat\w*|vanaf\b
    di ritorno|operativ[oi]|riprend\w*|torniamo|torno|tornerò|ritorn(?:o|erò)|rientr(?:o|erò|a)|a partire dal
    (?:di )?nuovo (?:disponibile|in ufficio)|dal\b(?=.{0,20}sarò)|de volta|volt(?:o|arei|amos)|retom\w*
    retornamos|regressamos|retorn(?:o|arei)|regress(?:o|arei)|a partir de
    """,
    before=r"\b",
)

MEANWHILE: Final = any_of(
    r"""
    in (?:urgent|the meantime)|urgent (?:matters|cases|enquiries)|during my absence|upon my return|on my return
    when i return|limited access|no access|not (?:be )?(?:read|monitored|checked|forwarded)|my inbox
    in dringenden fällen|dringend|während (?:meiner|dieser)|in dieser zeit|nicht (?:gelesen|weitergeleitet)
    en cas d'urgence|en cas d’urgence|pendant (?:mon|cette)|à mon retour|en caso de urgencia
    para (?:cualquier )?urgenci|durante (?:mi|este|la mia|a minha|meu)|a mi (?:vuelta|regreso)
    in geval van (?:nood|spoed)|bij (?:spoed|dringende)|tijdens mijn|bij terugkomst|in caso di urgenza
    per urgenze|al mio (?:rientro|ritorno)|em caso de urgência|assuntos urgentes|no meu regresso|ao regressar
    """,
    before=r"\b",
)
