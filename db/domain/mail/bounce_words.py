"""The words of servers for each reason of a bounce. Each line is one wording.

They are searched in a text without addresses, brackets and quotation marks, in lower case, with one space between
words. `~` stands for up to four words, `=` for one or none.
"""

import re
from typing import Final

from db.domain.mail import bounce_languages
from db.domain.mail.patterns import words_of
from db.domain.mail.verdict import BounceKind

_AUTH: Final = r"""
    spf|dkim|dmarc|sender policy framework|domainkeys?|senderid|sender id
    authentication checks? failed|unauthenticated (?:e?mail|senders?|messages?)|not pass(?:ing|\
        ed)? authentication|fails? authentication checks?
    not accepted due to domains?|e?mails? ~ not authenticated|message ~ not authenticated|\
        sender is unauthenticated
    due to its authentication|authentication results
"""

_EXPIRED: Final = r"""
    (?:message|envelope|delivery|queue|retry) ~ (?:expired|timeout exceeded)|mail (?:has |is )?expired|\
        retry time(?:out)? (?:not reached|exceeded)
    queue too long|too long in = queue|queue lifetime|been = the = queue|on the queue for
    (?:not|un|undelivered|failed to|unable to) ~ (?:for|in|within|after) \d+(?:\.\d+)? (?:more )?(?:min\w*|\
        hours?|days?|sec\w*)
    (?:not|couldn't|can't) be (?:sent|delivered) (?:for|in|within|after) \d+
    delivery (?:attempts?|time) ~ (?:expired|exceeded|exhausted)|max\w* (?:retries|retry|\
        delivery) ~ (?:reached|exceeded|expired)|giv(?:e|ing) up(?! on)
    (?:have|has) been failing|not going to try again|exceeded ~ retr(?:y|ies)|timed out in queue
"""

# A program that should have delivered the mail failed; its output is about files.
_PROGRAM: Final = r"""
    procmail|maildrop|pipe to|command (?:output|died|failed|time)|(?:mailer|command|program|process|filter|\
        pipe|agent) ~ (?:terminated|died|exit\w*|returned|crashed|signal)|exit (?:status|code)|\
        unknown mailer error|mailer error|too many hops|hop count|connection ~ (?:timed? ?out|timeout|\
        refused by|refused|reset|dropped|lost)(?! ~ polic)|no such (?:file|process|device|command|dir\w*)
    can't (?:create|open|write|lock|exec\w*|read|append)|couldn't (?:open|create|write|lock|run)|\
        cannot (?:open|create|write|append|update)|(?:unable|failed) to (?:open|create|write|lock|read|append|\
        execute|run|load)
"""

# The mail was not refused: no server answered, or something failed.
_NETWORK: Final = r"""
    connection ~ (?:timed? ?out|timeout|refused|reset|dropped|closed|lost|failed|died)|(?:operation|session|\
        conversation|protocol|read|command|connect|data|greeting|response) ~ time[d ]?out
    timed? ?out (?:while|waiting|during|after|talking|before|receiving|sending|connecting|reading)
    (?:not|can't|couldn't|cannot|unable to|failed to) (?:establish|make|open|complete|connect|be connected)|\
        no route to host|(?:network|host|server|mta)s? (?:is |are |was )?(?:unreachable|not responding|down|\
        not available|not reachable|busy)
    lost connection|lost ~ connection|no answer|did not respond|not respond|did not reply|no response
    (?:dns|name ?server|name service|name lookup|mx lookup|lookup) ~ (?:error|failure|fail\w*|timeout|\
        servfail)|host name lookup fail\w*|lookup failed temporarily|name server timeout
    temporar\w* (?:dns|lookup|name|system|failure|resolution|problem|local|error|unavailable|delivery|\
        resources?|server)|temporarily (?:rejected|deferred|not|unable|reject|out|over)|(?:re)?try (?:again|\
        later|your)|veuillez essayer|r[ée]essayer|erneut versuchen
    greylist\w*|gr[ae]y ?list\w*|too busy|server busy|please = later
    (?:routing|mail|mail forwarding|message|delivery|redirect\w*) loop|loops? back|too many hops|hop count|\
        hop limit|maximum hop|received headers|too many received|in a loop|looping
    insufficient (?:system|disk)|out of memory|disk full|system (?:not accepting|not available|is down|error|\
        problem|resources?|failure|storage|config\w*)|(?:queue|temp\w*) file|low on = space
    service (?:not available|unavailable|refused?|currently|temporarily|is|shutting)|internal (?:server |\
        software |system )?(?:error|failure|problem)|software error|server (?:error|configuration|problem|\
        failure)|config\w* error|(?:mis|badly )config\w*|mail(?: ?)server ~ down
    mailer error|(?:mailer|command|program|process|filter|pipe|agent) ~ (?:failed|terminated|died|exit\w*|\
        returned|crashed|signal)|exit (?:status|code)|can't (?:create|open|write|lock|exec\w*|read|append)|\
        (?:unable|failed) to (?:open|create|write|lock|read|append|execute|run|load)|couldn't (?:open|create|\
        write|lock|run)|cannot (?:open|create|write|append|update)
    i/o error|input/output error|broken pipe|permission denied|resource temporarily|file (?:system|exists)|\
        return code|unknown mailer|procmail|command output|local (?:configuration|delivery|\
        processing) (?:error|failed|failure|problem)
"""

# These words are about the recipient alone, although they contain words about senders and policies.
_REFUSED_RECIPIENT: Final = r"""
    account or domain may not exist(?!.{0,200} sender verif)|mailbox (?:name |is )?not allowed|(?:recipient|\
        destination|mailbox) address syntax
    (?:mail[ -]?box|account|user|address) ~ (?:due to|for) inactivity|(?:bad|valid)_?(?:rcpt|recipient)_?to|\
        envelope recipient (?:has been|is|was) (?:denied|rejected|refused)
"""

# The problem is temporary, whatever the words say about a user or a host, and whatever the code says.
_PASSING: Final = r"""
    (?:not found|lookup|resolution|failure|failed|error) = try again(?! with)|try (?:again|it again) (?:later|in \
        = (?:minutes?|hours?))|please try later|temporar\w* (?:disabled|locked|suspended|inactive|blocked|\
        closed|\
        unreachable|unknown|frozen|unavailable|not available)|(?:disabled|locked|suspended|inactive|blocked|\
        closed) temporar\w*|\
        internal (?:server |software |system )?(?:error|failure)
"""

_BAD_SENDER: Final = r"""
    spam\w*|junk ?mail|ube|uce|spammer|unsolicited|junk|bulk|black ?list\w*|block ?list\w*|deny ?list\w*|\
        block(?:ed|ing)?|rbl|dnsbl|spamhaus|spamcop|sorbs|barracuda\w*|proofpoint|cloudmark|senderbase|\
        mailspike|uribl|surbl|abusix|banned|ban list
    reputation|bad behaviou?r|policy|policies|(?:not|isn't) (?:permitted|authori[sz]ed|allowed|privileged)|\
        prohibited|unauthori[sz]ed|forbidden|restrict\w*|administrativ\w+ (?:prohibit\w*|block\w*|den\w+)|\
        not open to|rules? = reject\w*
    authentication (?:is )?(?:required|failed|failure)|requires? authentication|must authenticate|authrequired|\
        need to authenticate|not logged in|smtp auth\w*|authenticate
    relay(?:ing)? = (?:denied|not|prohibited|is|mail|rejected|access|operation|restricted)|(?:not|no|deny|\
        cannot|can't|won't|refus\w+ to|unable to|doesn't|don't|open) = relay\w*|relay access|third.party relay|\
        relay_denied|we do not relay|mail server does not relay|gateway
    rate ?limit\w*|rate (?:of|that|is|control)|too (?:many|much|fast|quickly|frequent\w*)|throttl\w*|\
        (?:connections?|messages?|recipients?|mails?|emails?) per|sending (?:limit|rate|quota)|(?:hourly|\
        daily) (?:limit|quota)|exceed\w* ~ (?:rate|connections?|hourly|daily|sending|recipients?|concurrency)|\
        (?:number|amount|volume) of (?:messages?|connections?|recipients?|mails?|emails?)|\
        receiving mail at a rate|concurren\w*|limit exceeded
    virus\w*|malware|infected|trojan|worm|phish\w*|malicious|suspicious|suspect|dangerous|\
        attachments? ~ (?:type|not|blocked|rejected|denied|removed)|file ?types?|executable|\.exe|zip
    (?:sender|(?<!response )from(?! (?:the |a )?(?:remote|other|server|receiving|destination|recipient|\
        mail server|host))|\
        originator|mail from|ip for sending|envelope(?! recipient)|return.path|return address|sending (?:ip|\
        domain|host|\
        server|address|mta|system|account|user)|source|client|helo|ehlo|\
        submitter)(?: ~) ?(?:not exist|doesn't exist|rejected|denied|refused|not found|not allowed|accepted|\
        not verified|invalid|unknown|verif\w*|blocked|blacklisted|must|required|cannot|can't|couldn't|\
        unresolv\w*|not resolv\w*|not valid|must resolve|malformed|unrecogni[sz]ed|disabled|forged|spoof\w*|\
        mismatch|misused|has (?:null|no))
    (?:invalid|bad|unknown|unresolvable|malformed|unverified|illegal|forged|missing|need|unacceptable|\
        unrouteable) (?:sender\w*|return|from|originator|mail from|envelope|reverse|helo|ehlo|ip|client)|\
        domain of (?:the )?sender|sender ~ domain|sender not (?:on|in|pre-?approved|permitted)|\
        recipient(?:'s)? preferences|privacy settings|verify sender|sender verif\w*|backscatter|null sender|\
        spoof\w*|forg(?:ed|ery)|impersonat\w*
    batv|(?:doesn't|don't|won't|not|never) accept(?:s|ed|ing)? (?:any )?(?:e-?mails?|messages?|\
        connections?) (?:from|over|via)|\
        valid recipients from|not accept delivery|(?:rly|con|hvu|dyn|dns|spf|rtr):\w\d|e21\d0|\
        your (?:hostname|host name|domain|server name) ~ (?:couldn't|cannot|can't|unknown|\
        unresolv\w*)
    reverse (?:dns|address|lookup|name|mapping|record|resolution|hostname|ip)|rdns|ptr|dynamic|dial-?up|\
        residential|hostname (?:is )?(?:not|invalid|doesn't)|fqdn|fully.qualified|generic
    rfc ?-?(?:[125678]\d{3}|821)|(?:missing|duplicate|multiple|invalid|malformed|bad|non-?standard|8.?bit|\
        no) = (?:headers?|mime|message-id|message id|date|body|subject|from:)|headers? ~ (?:missing|invalid|\
        too|malformed|not)|bare (?:lf|cr|line)|not rfc|syntax|line too long|not (?:compliant|conform\w*)|\
        non-?ascii|smtputf8|internationali[sz]ed|utf-?8|data format|protocol (?:error|violation)|(?:command|\
        parameter) (?:not|unrecogni[sz]ed|rejected|out|parameter|unknown)|unrecogni[sz]ed (?:command|\
        parameter)|bad sequence|pipelining|starttls|encryption|tls|ssl|security|secure|certificate
    (?:not|n.t) have permission|no permission|group ~ may not exist|google groups?|groups\.google\.com|\
        ne soyez pas autoris\w+|permission to post
    abuse|complain\w*|feedback|whitelist\w*|white list|allow ?list\w*|challenge|contact (?:your|the) (?:isp|\
        provider)|unblock\w*|delist\w*|remov\w+ ~ (?:black|block|deny|our|this) ?list|(?<!not )listed (?:in|\
        at|on|by)|(?:poor|low|bad|\
        network) (?:score|rating|reputation)|your (?:ip|network|isp|provider|host|server|mail server|\
        mta) ~ (?:block\w*|\
        list\w*|reject\w*|denied|ban\w*|bad|not)|this (?:ip|network|isp|provider|host|server|mail server|\
        mta)(?: is| was| \
        has been)? = (?:block\w*|list\w*|reject\w*|denied|banned|bad)
"""

# Servers also use these words for a wrong address, so they count only if nothing says that the address is wrong.
_POLICY: Final = r"""
    content (?:filter\w*|rejected|restrictions?|blocked|reject|policy|denied|invalid|analysis|scan\w*)|\
        (?:message|mail|e-?mail|content|header|subject|body|url|link|client|ip|ip address|access|helo|ehlo|\
        data|transaction|connections?|delivery|letter)s? (?:was |has been |is |are |were |been )?(?:rejected|\
        refused|reject|filtered|denied|blacklisted|discarded|unacceptable|not accepted)
    reject(?:s|ed|ing)? (?:your|this|the|by|for|due|because|as|sender|connection|client|from|after|bulk)|\
        refus\w* to (?:accept|talk|deliver)|refused by|rejected by (?:the )?(?:policy|filter|content|\
        administrator|header|rule|user|recipient)|(?:message|mail) content|header content|not accept(?:ed|ing|\
        able)? (?:from|connections|messages|for policy)|don't (?:want|like|accept)|we do not accept|\
        no thank you|not welcome|go away|unwanted|objection\w*|offensive|inappropriate
    only (?:members|accepts?|subscribers|the owner|allowed)|not (?:a )?(?:subscribed|subscriber|member)|\
        members? only|moderat\w*|not accepting (?:mail|messages|e-?mail) from|to post|posting
    mail rejet\w*|rejet\w*|refus\w* pour|considered|looks like|classified|detected|suppress\w*|opted.out|\
        unsubscribed
"""

_RATE: Final = r"""
    (?:sending|send|hourly|daily|rate|connection|receiving|messages?) ~ (?:limit|quota|rate) ~ (?:exceeded|\
        reached|exceeds)|exceed\w* ~ (?:hourly|daily|sending|rate) ~ (?:limit|quota|rate)|rate.?limit\w*
"""

_FULL: Final = r"""
    (?:mail[ -]?box|mail ?drop|inbox|account|user|quota|storage|mail ?dir|mailfolder|recipient|disk|folder|spool|\
        addressee) ~ (?:full|over ?quota|over quota|overflow|over its|over the|exceed\w*|out of (?:space|\
        storage|disk|quota|memory)|reached = (?:limit|\
        quota|maximum|capacity)|exhausted|too full|at capacity|overdrawn)
    over ?quota|over.the.quota|over = quota|quota ~ (?:exceeded|exceeds|violation|reached|full|limit|exhausted|\
        for user)|(?:exceed\w*|exceeding|above|beyond) ~ (?:quota|mailbox|storage|allotted|disk)|\
        exceeded storage|full mailbox|mailbox full|mailfull|mailbox_full|quota_exceeded
    (?:not enough|insufficient|no|out of|lacks?) (?:mailbox|disk|storage|user|quota|free)? ?(?:space|storage|\
        room|quota)|storage allocation|no space left|no more (?:mail|messages|space)|maximum (?:mailbox|\
        storage)|too many (?:messages|mails) (?:in|on)|mailbox size|mailbox limit|(?:has|have) exceeded (?:his|\
        her|their|its)
"""

_TOO_LARGE: Final = r"""
    (?:message|mail|e-?mail|size|data|content|body|attachments?|file)s? ~ (?:too (?:large|big|long)|\
        larger than|bigger than|greater than|oversized?)|(?:message|mail|size|length|body|\
        attachment) ~ (?:exceed\w*|over) ~ (?:size|limit|maximum|length|allowed|bytes|fixed|[mk]b|\d+)
    too (?:large|big) (?:message|mail|for|to)|exceed\w* ~ (?:message|mail|maximum|max|size|length) (?:size|\
        limit|length|allowed|message)|message (?:size|length)|size limit\w*|size (?:exceed\w*|too)|\
        max\w* (?:message|mail) (?:size|length)|(?:larger|longer|greater|bigger) than|trop (?:gros|volumineux)|\
        zu gro(?:ß|ss)
"""

_UNKNOWN_USER: Final = r"""
    (?:user|account|recipient|mail[ -]?box(?! server| store| database)|address|alias|person|login|local.?part|\
        subscriber|customer|addressee|\
        destination|username|userid|user id|addr|rcpt|receiver|mailaddress|employee|inbox|contact|object|users|\
        recipients|addresses|accounts|mailboxes)(?: ~) ?(?:unknown|doesn't exist|not exist\w*|not exit|\
        non-?exist\w*|doesn't have|not found|not be found|no longer|not (?:a )?(?:valid|known|recogni[sz]ed|\
        listed|local|registered|here|our|present|defined|active|in use|in service|available|served|hosted|on|\
        at)|invalid|illegal|undeliverable|inactive|inactivated|deactivated|disabled|discontinued|terminated|\
        suspended|closed|expired|deleted|removed|cancell?ed|locked|frozen|unavailable|obsolete|retired|\
        incorrect|misspelled|wrong|moved|changed|left|unrouteable|unroutable|couldn't be found|wasn't found|\
        unverified|ceased|gone|dead|bad)
    (?:no|not a|not an|isn't a|unknown|invalid|illegal|nonexist\w*|non-exist\w*|bad|unrout(?:e)?able|\
        undeliverable|incorrect|wrong|inactive|disabled|old|obsolete|dead|unrecogni[sz]ed|undefined|expired|\
        not.existing|\
        unavailable|suspended|deactivated|unverified|deleted) (?:such |a |an |the |known |valid |active |\
        virtual |local |remote |e-?mail |mail |domain |recipient |user |matching |existing |mailbox )*(?:user|\
        account|recipient|mail[ -]?box|address|addressee|alias|person|customer|subscriber|destination|local.?part|\
        rcpt|final delivery userid|userid|user ?name|id|login|entry|users|recipients|addresses|accounts|\
        mailboxes)
    no such(?! file| process| device| command| dir)|no (?:one|body) ~ by that name|nobody by|by that name|\
        unknown (?:to|or|in(?! reply)|at|as|here)|not listed in|(?:not|isn't|aren't) (?:listed|known|found|\
        registered|\
        here)|not our (?:user|customer)|not my|relay_unknown|no mailbox|(?:user|address|recipient)_?(?:unknown|\
        invalid|not_?found)|(?:invalid|unknown)_?(?:recipient|user|address)|mailbox_unavailable|\
        mailbox_disabled|recipientnotfound|nosuchuser
    (?:cannot|can't|couldn't|unable to|failed to|not) (?:find|locate|recogni[sz]e|verify|accept) (?:a |an |\
        the |any |\
        such |this |that |valid |local |matching )*(?:user|account|recipient|mail[ -]?box|alias|person|username)|\
        (?:user|account|recipient|mail[ -]?box|address|alias|person)(?: ~) ?(?:cannot|can't|\
        couldn't) be (?:found|located|\
        verified|recogni[sz]ed|resolved)|(?:user|recipient|mailbox|account)[-_](?:unknown|invalid|\
        not[-_]found)|\
        (?:bad|invalid|unknown)[-_](?:user|recipient|mailbox|address)
    (?:^|5\d\d )(?:5\.[0-6]\.\d{1,3} )?(?:is )?(?:unknown|doesn't exists?|not exist\w*|not valid)(?:$| )|\
        is unknown$
    (?:no|not) ~ in (?:the |our |this )?(?:name |address |user |ldap |company |global )*(?:directory|\
        address ?book)|no match(?:es)? for (?:the |this |your )?(?:user|recipient|address)|\
        don't know ~ (?:user|person|\
        recipient)|(?:no ?one|nobody) (?:here|at this|at that)|\
        (?:no ?one|nobody) ~ (?:by|with|of) that name|\
        has been replaced (?:by|with)|unavaiable|this [a-z]+ doesn't exist|(?:recipients?|\
        rcpt|user) (?:is )?not (?:ok|accepted|activated)|account (?:is )?not activated|doesn't have an? = account|\
        (?:e-?mail|entry|id) = doesn't exist|(?:no ?one|nobody) with (?:that|this) (?:e-?mail )?(?:address|name)|\
        (?:disabled|unknown|invalid)user|\
        rejected (?:the |your |all )?recipients?$|no longer (?:a |an |our )(?:customer|user|client|member|\
        subscriber|employee|student)
    (?:no longer|not) (?:works?|working|employed|in use|valid|active|available|exists?|monitored)|\
        no longer (?:with|at|accepts?|receiv\w*|accepting|an? ~ employee)|has (?:left|moved|retired|changed)|\
        moved (?:to|permanently)|new (?:e-?mail )?address|please update|left the (?:company|organi[sz]ation)
    recipient address rejected access denied|(?:recipient|rcpt|address)(?: to)? rejected$|\
        recipient verification|recipnotfound|adr\.(?:ex)?recip\w*not\w*|verification failed|\
        delivery to ~ (?:suspended|disabled)
"""

_UNKNOWN_HOST: Final = r"""
    (?:host|domain|dns name|hostname|site|node|host name|domain name|server name|\
        destination)(?: ~) ?(?:unknown|doesn't exist|not exist\w*|not found|not be found|couldn't be found|\
        non-?exist\w*|has no (?:mail|mx)|not be resolved|not resolv\w*|not hosted|not handled|not configured|\
        not local|not (?:a )?valid|expired|no mx)
    (?:unknown|no such|invalid|illegal|bad|non-?exist\w*|unresolvable|undefined|unrouteable|\
        unroutable) (?:mail |recipient |destination |remote )*(?:host|domain|hostname|domain name|mail ?host|\
        site|node)|host unknown|hostname/domain invalid|illegal host/domain|domain name not found
    name or service not known
    (?:couldn't|can't|cannot|unable to|could not|not) (?:find any|resolve(?! route)|find a|find host|\
        find ~ (?:mx|mail|\
        domain|host|address)|route)|no (?:valid )?(?:mx|mail exchanger|mail exchangers|a|smtp|dns) (?:records?|\
        found|for|server|service|entry|or)|nullmx|null mx|no smtp service|all relevant mx|mail exchanger or ip|\
        nxdomain|no a/aaaa|no address associated|no mail ?(?:hosts?|server|exchanger)|\
        answer with no data|no route found to domain|lookups? failed permanently|\
        destination seems? to reject all|no ip address found|no host found|(?:recipient |\
        mail )?domain must exist|\
        domain (?:is )?not reachable
    (?:domain|host|address|organi[sz]ation)?(?: ~) ?(?:doesn't|not|never) (?:accept|receive|accepts|\
        handle) (?:any )?(?:e-?)?mail(?! from| over)|accepts no mail|no mail accepted|not accept any mail|\
        not accepting network messages
"""


WORDS: Final[tuple[tuple[str, BounceKind, re.Pattern[str]], ...]] = tuple(
    (rule, kind, words_of(lines))
    for rule, kind, lines in (
        ("words_of_authentication", BounceKind.AUTH, _AUTH),
        ("words_of_rates", BounceKind.POLICY, _RATE),
        ("words_of_a_full_mailbox", BounceKind.FULL, _FULL + bounce_languages.FULL),
        ("words_of_size", BounceKind.TOO_LARGE, _TOO_LARGE),
        ("words_of_expiry", BounceKind.EXPIRED, _EXPIRED),
        ("words_of_a_broken_program", BounceKind.SOFT, _PROGRAM),
        ("words_of_a_refused_recipient", BounceKind.HARD, _REFUSED_RECIPIENT),
        ("words_of_a_refused_sender", BounceKind.POLICY, _BAD_SENDER + bounce_languages.BAD_SENDER),
        ("words_of_a_passing_state", BounceKind.SOFT, _PASSING),
        ("words_of_an_unknown_host", BounceKind.HARD, _UNKNOWN_HOST + bounce_languages.UNKNOWN_HOST),
        ("words_of_an_unknown_user", BounceKind.HARD, _UNKNOWN_USER + bounce_languages.UNKNOWN_USER),
        ("words_of_policy", BounceKind.POLICY, _POLICY),
        ("words_of_a_failed_connection", BounceKind.SOFT, _NETWORK),
    )
)
"""(rule, what it means, pattern), the more telling first."""

DIAGNOSIS_CHARACTERS: Final = 3_000

_ADDRESS: Final = re.compile(r"<?[^\s<>@,;:\"()]{1,64}@[^\s<>@,;:\"()]{1,255}>?")
# The words in names of hosts are no reason, except in those of block lists and in the reasons of Exchange.
_TELLING: Final = (
    r"(?!\S{0,100}(?:spam|rbl|sbl|abuse|barracuda|proofpoint|senderbase|groups|block"
    r"|resolver|smtpsend|storedrv|queue\.))"
)
_LINK: Final = re.compile(r"https?://" + _TELLING + r"\S{1,2000}")
_HOST: Final = re.compile(r"(?<![\w.@/-])" + _TELLING + r"(?:[a-z0-9_-]{1,63}\.){2,8}[a-z]{2,6}(?![\w-])")
# Some gateways write a guess of their own before the answer that they got: `5.1.0 - Unknown address error 550-'...'`.
_NESTED: Final = re.compile(r"\b[45]\.\d\.\d - [\w ]{3,60}(?=[45]\d\d[- ]['\"])")
_BOILERPLATE: Final = re.compile(
    r"delivery report unavailable|recipient address rejected:(?! *access denied)|this is (?:a"
    r"|an) (?:permanent|temporary) error|following address(?:es|\(es\))? failed"
    r"|(?:the )?following addresses had (?:permanent fatal errors|delivery problems"
    r"|transient non-fatal errors)|could not be delivered to one or more(?: of its)? recipients"
    r"|delivery to the following recipients? failed(?: permanently)?"
    r"|your message (?:cannot|could not|was not|can't|couldn't) be delivered to the following (?:recipients?"
    r"|address\S*)|(?:does|do) not need to resend|\bhost \S{1,300} said:",
    re.IGNORECASE,
)
# Headers of the returned mail in the text of the server. The subject can be anything.
_REPEATED: Final = re.compile(
    r"^[ \t>]*(?:from|to|cc|subject|date|sent(?: date)?|message-?id|original sender|sender"
    r"|(?:sender|remote|reporting)-mta|mail from|message ?name|return-path)[ \t]*:.*$",
    re.IGNORECASE | re.MULTILINE,
)
_SHORT: Final = (
    ("`", "'"),
    ("does not", "doesn't"),
    ("doesnt", "doesn't"),
    ("doesn't exists", "doesn't exist"),
    ("could not", "couldn't"),
    ("can not", "can't"),
)
_MARKS: Final = re.compile(
    "[\"'`‘’“”()\\[\\]{}<>*.,;:!?=#|。、]+(?= |$)|(?:^|(?<= ))[\"'`‘“()\\[\\]{}<>*=#|.-]+|\\.{2,}"
)


def without_guess(diagnosis: str) -> str:
    """Returns the answer without the guess that a gateway wrote before it."""
    return _NESTED.sub("", diagnosis[:DIAGNOSIS_CHARACTERS])


def plain_words(diagnosis: str) -> str:
    """Returns the text in the form in which WORDS are searched."""
    text = diagnosis[:DIAGNOSIS_CHARACTERS]
    text = _BOILERPLATE.sub(" ", _REPEATED.sub("", text) if "\n" in text else text)
    text = _LINK.sub(" ", text.lower().replace("’", "'"))
    text = " ".join(_HOST.sub(" ", _ADDRESS.sub(" ", text)).split())
    for long, short in _SHORT:
        text = text.replace(long, short)
    return " ".join(_MARKS.sub(" ", text).split())
