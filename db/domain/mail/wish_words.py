"""Wordings of the wish to get no more mail, and wordings that mean something else with the same words."""

from typing import Final

from db.domain.mail.patterns import words_of

WISHES: Final = words_of(
    r"""
    # English
    ^(?:hi |hello |thanks |no thanks |please |pls |kindly )*(?:unsubscribe|stop|remove|opt out|opt-out|\
        take me off|remove me)(?: please| pls| plz| thanks| thank you| now| me| us| immediately| it)*$
    unsubscribe (?:me|us|this address|this e?-?mail|my \w+|\S+@\S+)|(?:please|pls|kindly|to be|must be|want to|\
        like to|wish to) = unsubscribed?(?: me| us| from|$)
    (?:remove|delete|take|strike|scrub|drop|erase|get|cross|wipe) = (?:me|us|my|our|this address|\
        \S+@\S+) ~ (?:from|off|out of) ~ (?:lists?|database|mailings?|sequence|campaigns?|crm|distribution|\
        records|books|contacts|address book)
    (?:take|get|strike|cross) (?:me|us) off(?: (?:it|please|now)|$| (?:your|the|this|that|any|all) ~ (?:lists?|\
        mailings?|database|books|records|distribution))|remove (?:me|us|\
        my \w+)(?: = (?:please|pls|now|immediately|at once|today|asap|right away|then|completely|entirely|\
        permanently|or|otherwise)|$)
    (?:delete|erase|purge) (?:all )?(?:my|our|any) ~ (?:data|details|information|address|addresses|records?|contact)
    (?:stop|quit|cease|refrain from) (?:e-?mailing|contacting|mailing|messaging|writing|writing to|spamming|\
        bothering|harassing|pestering)(?: me| us| this| at once| now| here|$)
    (?:stop|quit|cease|refrain from) sending (?:me|us|any|these|this|further|your|e-?mails?|mails|messages|\
        spam|to)|(?:stop|enough with|done with) (?:all |the |these |your |this |with |of )+(?:e-?mails?|mails?|\
        messages|spam|spamming)
    (?:don't|do not|dont|never|not) (?:ever )?(?:e-?mail|contact|write|write to|mail|message|bother|approach|\
        reach out to) (?:me|us|to me|to us|this address) ~ (?:again|any ?more|ever|in future|in the future|\
        further|$)
    (?:don't|do not|dont|never) (?:ever )?send (?:me |us )?(?:any ?(?:more|thing)?|further|more|another|\
        such) ~ (?:e-?mails?|mails?|messages?|again|anything|of this|of these|offers|advertising|$)
    no (?:more|further) (?:of your |of these |such |marketing |sales )*(?:e-?mails?|mails?|messages?|contact|\
        communications?|correspondence|\
    spam)(?: please| pls| thanks| thank you| from you| from your \w+| to me| to us| to this address| ever| or|$)
    opt (?:me |us )(?:out|us out)|opt out (?:please|now|$)|opt-out (?:request|please|me)|(?:want|like|wish|ask|\
        request|demand) to (?:unsubscribe|opt out|be removed|be taken off|be unsubscribed|be deleted|be left alone)
    (?:don't|do not|no longer|never) (?:want|wish|care) to (?:receive|get|hear) (?:any |any more |more |\
        further |your |these |such |this kind of |sales |marketing |unsolicited )*(?:e-?mails?|mails?|\
        messages?|offers|advertis\w+|marketing|newsletters?|from you|from your \w+|anything|communications?|\
        spam|this)
    (?:don't|do not|no longer) (?:want|wish|consent|agree) to be (?:contacted|e?-?mailed|approached)|\
        (?:withdraw|revoke) (?:my|any|our) consent|cease all ~ (?:contact|communication)|\
        refrain from (?:sending|contacting|any|all|further) ~ (?:messages?|e-?mails?|mails?|contact|us|me)
    object to (?:the|your|any|all|further|my|this) = (?:processing|use)|right to (?:object|erasure|\
        be forgotten)|lose (?:my|this|our) (?:address|e-?mail|number)|(?:leave|let) (?:me|\
        us) alone(?: please| now| already|$)

    # German
    ^(?:hallo |bitte |danke |nein danke )*(?:abmelden|abmeldung|austragen|abbestellen|abbestellung|stopp?|\
        löschen|streichen)(?: bitte| danke| sofort)*$
    (?:aus|von|vom) (?:dem |ihrem |ihrer |der |deinem |deiner |allen |ihren |diesem |dieser |eurem |\
        eurer )?(?:\S*verteilern?|\S*listen?|datenbank(?:en)?|newsletter|kartei|crm|adressbestand) ~ (?:nehmen|\
        streichen|löschen|entfernen|austragen|abmelden|heraus\w*|raus\w*|\w+zunehmen|\w+zutragen)
    (?:nehmen|streichen|löschen|entfernen|tragen|melden|werfen|nehmt|streicht|löscht|\
        tragt) (?:sie )?(?:bitte )?(?:mich|uns|meine \S+|unsere \S+|diese \S+) ~ (?:\S*verteiler|\S*listen?|\
        datenbank|newsletter|ab|aus|kartei|raus|heraus)
    ^(?:bitte )?(?:raus |weg )?(?:aus|von) (?:dem|ihrem|ihrer|der|eurem) (?:\S*verteiler|\S*liste)(?: bitte)?$|\
        löschen sie (?:bitte )?(?:meine|unsere|alle meine|alle unsere) (?:\S*daten|\S*adresse|\S*angaben|\
        e-?mail\S*)|löschen sie mich
    (?:möchte|möchten|will|wollen|hiermit|bitte) (?:mich|uns) ~ (?:abmelden|austragen|abbestellen|abgemeldet)
    keine(?:rlei)? (?:weiteren |weitere |solchen )?(?:\S*mails?|nachrichten|\S*werbung|werbepost|zuschriften|\
        anschreiben|kontaktaufnahmen?|kontaktversuche|werbeanrufe) (?:mehr )?(?:\w+ ){0,2}(?:erhalten|bekommen|\
        senden|schicken|zusenden|zukommen|zu senden|zu schicken|zuschicken)
    keine (?:weiteren )?(?:\S*mails?|nachrichten|\S*werbung) mehr(?: bitte| an mich| an uns| von ihnen| danke|\
        $)|keine weiteren (?:\S*mails?|nachrichten|kontaktversuche|werbemails|\
        zuschriften)(?: bitte| mehr| an mich| an uns| von ihnen|$)
    (?:schreiben|kontaktieren|mailen|belästigen|behelligen|schreibt|kontaktiert) (?:sie )?(?:mich|mir|\
        uns) ~ (?:nicht mehr|nie mehr|nie wieder|nicht wieder|nicht weiter|nicht länger)|(?:senden|\
        schicken) (?:sie )?(?:mir|uns) ~ (?:nichts mehr|keine weiteren \w+|keine (?:\S*mails?|werbung|\
        nachrichten)(?: mehr)?)
    (?:mich|mir|uns) ~ (?:nicht mehr|nie mehr|nie wieder|nicht weiter|nicht länger) ~ (?:anzuschreiben|\
        zu kontaktieren|zu belästigen|zu behelligen|zu schreiben|anzumailen|anschreiben|kontaktieren|\
        belästigen|schreiben|mailen|kontaktiert|angeschrieben)
    hören sie ~ auf (?:damit|mir|mich|uns|mit (?:\w+ ){0,2}(?:\S*mails?|werbung|spam|nachrichten))|(?:lassen|\
        lasst) (?:sie )?(?:mich|uns) (?:bitte |endlich |einfach )*(?:in ruhe|\
    in frieden)(?: mit| endlich| jetzt|$)|unterlassen sie|(?:sehen|nehmen) sie ~ von weiteren \S+ ~ (?:ab|\
        abstand)|verschonen sie (?:mich|uns)
    widerspreche ~ (?:\S*daten|werbung|verarbeitung|nutzung|zusendung|kontakt\w*|speicherung)|(?:will|möchte|\
        wünsche|wollen|möchten) ~ (?:nichts mehr|keine (?:\S*mails?|werbung|nachrichten|\
        angebote)) ~ (?:von ihnen|hören|erhalten|bekommen|bekomme)
    (?:meine|unsere) (?:\S*daten|\S*adresse) ~ (?:löschen|entfernen|zu entfernen|zu löschen|gelöscht)|\
        wünsche(?:n)? ~ keine(?:n)? (?:weitere\w* )?(?:\S*mails?|werbung|nachrichten|kontakt\w*)

    # French
    ^(?:bonjour |merci |svp |non merci )*(?:désinscription|stop pub|désabonnement|désabonner|se désabonner|\
        désinscrire|\
        stop|désabonnez-moi)(?: merci| svp| s'il vous plaît)*$
    (?:désabonne[zr]?|désinscri(?:vez|s))[- ](?:moi|nous)|(?:retire[zr]?|enl[eè]ve[zr]?|supprime[zr]?|\
        raye[zr]?|ôte[zr]?|efface[zr]?|sortez)[- ](?:moi|nous)(?: (?:de|d'|immédiatement|svp|s'il|tout|merci)|$)
    (?:me|nous) (?:désabonner|désinscrire|retirer|enlever|supprimer|rayer|radier|effacer) (?:de|d')|\
        (?:supprime[zr]?|retire[zr]?|efface[zr]?|supprimiez|retiriez|enlève[zr]?|suppression de|effacement de|\
        retrait de) (?:mon|mes|nos|notre|toutes mes|toutes nos) (?:adresses?|coordonnées|données|e-?mails?|\
        mails?|contacts?|informations)
    (?:ne|de ne) (?:plus|pas|jamais) (?:me |nous |m'|être |avoir à )?(?:contacter|envoyer|écrire|solliciter|\
        relancer|contactée?s?|sollicitée?s?|démarchée?s?|importuner|démarcher)|ne plus (?:recevoir|\
        avoir) (?:\w+ )?(?:de |d'|vos |ces |aucun\w* )
    (?:ne|n') ?(?:me |nous |m')?(?:contacte[zr]|écrive[zr]|écris|envoye[zr]|relance[zr]|sollicite[zr]|\
        importune[zr]|démarche[zr]|envoyez|écrivez) (?:plus|jamais)
    (?:ne )?(?:souhait\w+|veux|voulons|désir\w+|accept\w+) (?:plus|pas|aucun\w*) (?:recevoir|être (?:contact|\
        sollicit|démarch|relanc|import)\w+|vos (?:mails?|messages?|e-?mails?|offres|publicités)|de vos|\
        de mails?|d'e-?mails?|entendre parler)
    (?:cesse[zr]|arrête[zr]) ~ (?:de (?:me|nous) \w+|de m'(?:écrire|envoyer|importuner|ennuyer|embêter|\
        harceler)\w*|vos (?:mails?|e-?mails?|messages?|envois|relances|sollicitations)|ces (?:mails?|e-?mails?|\
        messages?|envois|relances)|avec vos (?:mails?|messages?|relances)|tout (?:envoi|contact))
    ^(?:merci |svp |et )*plus (?:de|aucun|d'|jamais de) ?(?:mails?|e-?mails?|messages?|courriels?|publicités?|\
        relances?|pub|prospection)|m'oppose ~ (?:au|à|aux)|droit (?:d'opposition|à l'effacement|à l'oubli)|\
        (?:fichez|foutez)-(?:moi|nous) la paix|laissez-(?:moi|nous) tranquilles?|(?:de|dans) votre (?:liste|\
        base|fichier)(?: de \w+)? (?:merci|svp)$

    # Spanish
    ^(?:hola |por favor |gracias |no gracias )*(?:baja|stop|dar de baja|darme de baja|\
        cancelar suscripción)(?: por favor| gracias| ya)*$
    (?:dar(?:me|nos)|den?(?:me|nos)|dé(?:n)?(?:me|nos)|dad(?:me|nos)|dame|danos|dése?nos|nos den|me den|me dé|\
        nos dé) (?:\w+ )?de baja|causar baja|(?:quiero|solicito|deseo|pido|queremos|solicitamos) (?:la |\
        mi )?baja inmediata|baja (?:de|en) (?:su|la|vuestra|esta|esa|tu) (?:lista|base|newsletter|\
        boletín|mailing)
    (?:elim[ií]n|b[oó]rr|qu[ií]t|s[aá]qu|ret[ií]r|suprim|s[aá]c)(?:e|en|a|ad|éis|an|ar)(?:me|\
        nos)(?: (?:\w+ ){0,2}(?:de|del)|$)|(?:elimin|borr|quit|suprim|sac|retir)(?:e|en|a|ad|ar|éis|an|\
        ir) (?:por favor )?(?:todos )?(?:mis|nuestros|mi|nuestra|nuestro|sus) ~ (?:datos|correos?|dirección|\
        direcciones|e-?mails?|contactos?)
    no (?:me |nos )?(?:vuelv\w+ a )?(?:envi\w+|env[ií]\w+|escrib\w+|escríb\w+|contact\w+|mand\w+|molest\w+|\
        llam\w+|remit\w+)(?: \w+){0,2} más(?: (?:correos?|e-?mails?|mensajes?|publicidad|propaganda|por favor|\
        gracias|nunca|nada)|$)|no (?:me |nos )?vuelv\w+ a (?:escrib\w+|contact\w+|envi\w+|mand\w+|molest\w+)
    no (?:deseo|quiero|queremos|deseamos|quisiera) ~ (?:recibir|recibiendo) ~ (?:correos?|e-?mails?|mensajes?|\
        publicidad|comunicaciones|ofertas|nada|más)|(?:deje|dejen|deja|dejad|parad|paren|\
        pare) (?:ya )?de (?:escribir|enviar|mandar|contactar|molestar)(?:me|nos)|(?:deje|dejen|deja|dejad|\
        paren|pare|basta) (?:ya )?(?:de|con) (?:enviar |mandar |tantos |sus |estos |los )*(?:correos|mensajes|\
        e-?mails|spam)
    (?:ni|no|ningún) (?:un )?(?:más )?(?:correos?|e?-?mails?|mensajes?) más|me opongo al? ~ (?:tratamiento|\
        uso)|nos oponemos|derecho (?:de|a la|al) (?:supresión|oposición|cancelación|olvido)|absténganse de|\
        abstenerse de|déj(?:e|en)(?:me|nos) en paz|dejad(?:me|nos) en paz

    # Dutch
    ^(?:hallo |graag |nee bedankt |bedankt )*(?:uitschrijven|afmelden|stop|afmelding|uitschrijving|\
        verwijderen)(?: aub| graag| svp| a.u.b| alstublieft| bedankt)*$
    (?:schrijf|schrijft|meld|meldt|haal|haalt|verwijder|verwijdert|gooi|streep|schrap|wis) (?:u )?(?:mij|me|\
        ons|mijn \S+|onze \S+) ~ (?:uit|af|lijst|mailinglijst|bestand|database|mailing|verzendlijst|\
        adressenbestand|$)
    (?:wilt u|wil je|kunt u|kan je|gelieve|verzoek\w*) ~ (?:mij|me|ons) ~ (?:bestand|lijst|mailing|\
        uit te schrijven|uitschrijven|\
        afmelden|te verwijderen|verwijderen|niet meer te \w+)|(?:wil|willen|graag) (?:mij |me |\
        ons )?(?:\w+ )?(?:uitschrijven|afmelden|uitgeschreven)
    geen (?:verdere )?(?:\S*mails?|mailtjes|berichten|\
    reclame) meer(?: aub| svp| graag| alstublieft| van u| van jullie| ontvangen| sturen| te ontvangen| te sturen|$)
    (?:niks|niets) ~ meer ~ (?:ontvangen|krijgen|horen|sturen)
    (?:geen|niet langer) ~ (?:e-?mails?|mails|berichten|reclame) ~ (?:ontvangen|krijgen)
    (?:stop|stopt|hou|houd|houdt) (?:u )?(?:\w+ ){0,3}(?:met|op met) (?:mij |me |ons |die |deze |uw |jullie |\
        het )*(?:te )?(?:mailen|mails?|sturen|schrijven|spam\w*|e-?mailen|berichten|benaderen|lastigvallen)
    (?:mij|me|ons) (?:\w+ )?(?:niet|nooit) (?:meer|langer|verder) ~ (?:mailen|benader\w*|contacteren|schrijven|\
        aanschrijven|lastig|e-?mailen|gemaild|benaderd|benaderen|sturen)|(?:mail|schrijf|contacteer|benader|\
        stuur|e-?mail) (?:mij|me|ons) (?:\w+ )?(?:niet|nooit|niets|niks) (?:meer|langer)
    (?:mijn|onze) (?:\S*gegevens|\S*adres) (?:\w+ ){0,3}(?:verwijderen|te verwijderen|wissen|te wissen)|\
        verwijder ~ (?:mijn|onze) (?:\S*gegevens|\S*adres)|maak ~ bezwaar|bezwaar tegen|laat (?:mij|me|\
        ons) (?:\w+ )?met rust|recht (?:op|van) (?:bezwaar|vergetelheid|verwijdering)|val (?:mij|me|ons) niet

    # Italian
    ^(?:buongiorno |salve |per favore |grazie |no grazie )*(?:cancella(?:mi|temi)|rimuov(?:imi|etemi)|\
        disiscriv(?:imi|etemi)|disiscrizione|cancellazione|stop|disiscrivere)(?: grazie| per favore| subito)*$
    (?:cancell(?:ami|atemi|armi|arci|ateci)|rimuov(?:imi|etemi|ermi|erci|eteci)|tog(?:limi|lietemi|liermi|\
        lieteci)|elimin(?:ami|atemi|armi|ateci)|disiscriv(?:imi|etemi|ermi|eteci)|\
        levatemi)(?: (?:\w+ ){0,2}(?:da|dal|dalla|dalle|dai|dall'\w+|subito|immediatamente|per favore|\
        per cortesia|grazie)|$)
    (?:mi|ci) (?:cancell(?:i|ino|iate)|tolga|tolgano|togliate|rimuova|rimuovano|elimini|eliminino|\
        disiscriva) ~ (?:da|dal|dalla|dalle|dai|dall'\w+|subito|per favore)|(?:cancell|rimuov|\
        elimin)\w+ (?:\w+ ){0,2}(?:il mio|i miei|i nostri|la mia|il nostro|le mie|le nostre) ~ (?:dati|\
        indirizzo|e-?mail|contatt\w+|mail|nominativo)
    non (?:mi |ci |vogliate )?(?:inviat\w+|mandat\w+|scriv\w+|contatt\w+|inviar\w+|mandar\w+|cercat\w+|\
        disturb\w+|invi\w*|mand\w*)(?: \w+){0,2} più(?: (?:mail|e-?mail|niente|nulla|messaggi|per favore|\
        grazie)|$)|non (?:desider\w+|vogli\w+|intend\w+) ~ (?:ricevere|riceverne) ~ (?:mail|e-?mail|messaggi|\
        pubblicità|comunicazioni|offerte|nulla|niente|più)|non (?:desider\w+|vogli\w+) (?:più )?essere contattat\w+
    (?:smett\w+|smettila|piantatela|finitela|cessi\w*) (?:\w+ )?(?:di |con )(?:\w+ )?(?:scriver(?:mi|ci)|\
        contattar(?:mi|ci)|inviar(?:mi|ci)|mandar(?:mi|ci)|tempestar\w+|disturbar\w+|spam\w*|queste (?:mail|\
        e-?mail)|le (?:mail|e-?mail))|basta (?:con )?(?:queste |le |con le |le vostre |con queste )*(?:mail|\
        e-?mail|messaggi|spam|pubblicità)$
    mi oppongo|ci opponiamo|opposizione al trattamento|(?:chied\w+|richied\w+) ~ (?:cancellazione|\
        rimozione)(?: (?:dei|dai|dalla|dal|immediata|di tutti)|$)|nessun'?a? (?:altra|altro) (?:e?-?mail|mail|\
        messaggio)|niente (?:più|altre) (?:e?-?mail|mail)|diritto (?:di|all'?) ?(?:opposizione|oblio|\
        cancellazione)|lasciat(?:emi|eci) in pace

    # Portuguese
    ^(?:olá |por favor |obrigad[oa] |não obrigad[oa] )*(?:descadastrar|descadastre|descadastrem|\
        cancelar subscrição|cancelar inscrição|remover|sair|parar|stop|remoção)(?: por favor| obrigad[oa])*$
    (?:remov[ae]m?|retir[ae]m?|tir[ae]m?|exclu(?:a|am|i)|elimin[ae]m?|apagu?[ae]m?|descadastr[ae]m?|\
        risqu?[ae]m?)-(?:me|nos)(?: (?:da|das|do|dos|desta|dessa|de (?:sua|vossa|todas))|$)|(?:me|\
        nos) (?:tir\w+|remov\w+|retir\w+|exclu\w+|descadastr\w+|apagu\w+|elimin\w+)(?: (?:da|das|do|dos|desta|\
        dessa|de (?:sua|vossa|todas))|$)
    (?:remov\w+|retir\w+|tir\w+|exclu\w+|elimin\w+|apag\w+|descadastr\w+) (?:o |a |os |as )?(?:meu|minha|meus|\
        nosso|nossos|nossa|todos os meus) ~ (?:e-?mails?|endereço|dados|contat\w+|contact\w+|nome)
    (?:cancel\w+|anul\w+) (?:a )?(?:minha )?(?:inscrição|subscrição|assinatura) (?:n|d|e|a|p)|(?:sair|\
        retirad[oa]|removid[oa]|excluíd[oa]) (?:da|desta|dessa|de) (?:sua |vossa |tua )?(?:lista|base)
    não (?:me |nos )?(?:envi\w+|mand\w+|contat\w+|contact\w+|escrev\w+|incomod\w+)(?:-me|\
        -nos)?(?: \w+){0,2} mais(?: (?:e-?mails?|mensagens|nada|por favor|obrigad[oa])|$)|não (?:me |\
        nos )?(?:volt\w+) a (?:escrev\w+|contact\w+|contat\w+|envi\w+|mand\w+|incomod\w+)
    não (?:quer\w+|desej\w+|pretend\w+) ~ receber ~ (?:e-?mails?|mensagens|publicidade|comunicações|propostas|\
        nada|mais|contactos)|não (?:quer\w+|desej\w+|pretend\w+) ser (?:contact|contat)\w+
    (?:pare|parem|para|deixe|deixem) (?:já )?de (?:me |nos )(?:envi\w+|mand\w+|contat\w+|contact\w+|escrev\w+|\
        incomod\w+|chate\w+)|(?:pare|parem|para|deixe|deixem) (?:já )?de (?:envi\w+|mand\w+|contat\w+|\
        contact\w+|escrev\w+|incomod\w+|chate\w+|spam\w*)-?(?:me|nos)?(?: (?:e-?mails?|mensagens|isto|isso|\
        estas|esses)|$)|chega (?:de|com) (?:\w+ )?(?:e-?mails|mensagens|spam)
    (?:nem|nenhum) mais (?:um )?(?:e-?mails?|mensagens)|oponho-me|me oponho|opomo-nos|direito (?:de|ao|\
        à) (?:oposição|esquecimento|apagamento|eliminação)|deixem?-me em paz
    """
)

OTHERWISE: Final = words_of(
    r"""
    # English
    never stop|(?:don't|do not|dont|not|never) (?:to |please )?(?:unsubscribe|remove|stop|take|delete|opt|\
        cancel|drop|strike)|nearly|almost|let (?:me|us) (?:remove|stop|delete|take|unsubscribe|get)|(?:i|\
        we) (?:can|could|may|might|will|would|nearly|almost|often|usually|always|never|did|just|already|\
        have) = (?:unsubscribed?|remove|stop|delete|take)
    (?<!grateful )(?<!appreciate it )(?<!kind )(?<!glad )(?<!nice )(?<!great )(?<!good )(?<!obliged )if (?:you|\
        i|we|it|this|that|they)|unless|before|until|rather than|instead of|can (?:your|the|it|people|users|\
        customers|our|this)|does (?:your|the|it)|(?:our|your|the|their|my) (?:customers|clients|users|members|\
        subscribers|drivers|staff|people|boss|colleagues|tool|software|system)|how (?:do|can|does) (?:people|\
        users|customers|our|your|staff|drivers|they)
    calendar|trial|the (?:old|other|wrong|previous|second|first)|except|stop by|don't stop|no more (?:excel|\
        spreadsheets|paper|manual)|one (?:objection|step|thing)
    instead|but (?:to|use|rather|write|call)|(?:we|i) (?:want|need|would like|hope|try|plan|wish) to stop
    # German
    sondern|statt dessen|stattdessen|nachdenken|überlegen|nicht (?:vom|von|aus|ab|löschen|streichen|austragen|\
        abmelden|entfernen)|(?:mich|uns) (?:bitte )?(?:nicht|\
        keinesfalls|bloß nicht)|fast|beinahe|wenn (?:sie|ich|wir|das|es)|falls|bevor|bis|unsere (?:kunden|\
        mitarbeiter|fahrer|leute|planer)|kann man|können (?:wir|unsere|mitarbeiter)|wie (?:kann|können)|\
        statt|excel|bitte nicht (?:ab|aus)
    # French
    surtout|plutôt|(?:ne|n') ?(?:me |nous |m')?(?:désabonn\w+|désinscri\w+|retir\w+|supprim\w+|enlev\w+)[- ]?(?:moi|\
        nous)? (?:pas|surtout|jamais)|pas (?:me |nous )?(?:désabonner|désinscrire|retirer|supprimer)|\
        (?<!gré )(?<!gentil )(?<!reconnaissant )si (?:vous|je|nous|c'est|elle|il)|faillit|presque|avant (?:de|\
        que|d')|jusqu'à|nos (?:clients|salariés|équipes|chauffeurs)|comment (?:peut|vos|les)|excel
    # Spanish
    sino|no (?:me |nos |se )?(?:den|des|dé|deis|elimin\w+|borr\w+|quit\w+|saqu\w+)|(?:casi|por poco|a punto)|\
        (?<!agradecería )(?<!agradeceríamos )si (?:usted|ustedes|no|es|me|nos|lo|el|la)|antes de|hasta|\
        nuestros (?:clientes|empleados|conductores)|se puede|pueden? (?:los|mis|nuestros)|excel
    # Dutch
    maar (?:gebruik|schrijf|mail|bel|liever)|niet (?:uit|af|van|verwijderen|schrappen|uitschrijven|afmelden)|\
        (?:vooral|zeker|alsjeblieft|liever) niet|\
        bijna|(?<!stel prijs )als (?:u|je|ik|het|we|wij|dat|er)|voordat|totdat|tot|onze (?:klanten|medewerkers|\
        chauffeurs|mensen)|kun(?:nen|t) (?:onze|je|medewerkers)|excel
    # Italian
    bensì|appuntamento|non (?:ci |mi |ce |vi |toglieteci|cancell\w+|toglie\w+|rimuov\w+|\
        elimin\w+)(?:cancell\w*|rimuov\w*|tolg\w*|\
        toglie\w*|elimin\w*)?(?: dall?a?| affatto|$)|non (?:ci|mi) (?:cancell\w+|rimuov\w+|tolg\w+|toglie\w+|\
        elimin\w+)|quasi|(?<!grato )(?<!grata )(?<!grati )se (?:lei|non|è|mi|il|la|i|voi|si)|prima (?:di|che)|\
        finché|i nostri (?:clienti|dipendenti|autisti)|si (?:può|possono)|excel
    # Portuguese
    e sim|dúvidas?|não (?:me |nos )?(?:remov\w+|retir\w+|tir\w+|cancel\w+|descadastr\w+|elimin\w+|apagu\w+)|quase|\
        (?<!agradecia )(?<!agradeço )(?<!agradeceria )se (?:você|o|a|for|não|me|nos|eu|quiser\w*)|antes (?:de|\
        que)|até|(?:os )?nossos (?:clientes|funcionários|motoristas)|podemos|é possível|pode-se|excel
    """
)

REQUESTS: Final = words_of(
    r"""
    (?:can|could|would|will) you|please|pls|bitte|könnten sie|können sie|würden sie|pouvez-vous|pourriez-vous|\
        merci de|veuillez
    por favor|pueden?|podr[ií]an?|podéis|kunt u|kan je|wilt u|wil je|graag|può|potete|potreste|potrebbe|pode|\
        podem|poderia\w*
    """
)
"""How a wish is put as a question."""
