"""Hosts at which anybody can have an address. Two people with addresses there are no colleagues."""

from typing import Final

FREEMAIL: Final = frozenset(
    {
        "126.com", "139.com", "163.com", "aim.com", "aol.com", "arcor.de", "att.net", "bigpond.com", "bluewin.ch",
        "btinternet.com", "comcast.net", "cox.net", "daum.net", "email.com", "email.cz", "fastmail.com", "fastmail.fm",
        "foxmail.com", "free.fr", "freenet.de", "gmail.com", "gmx.at", "gmx.ch", "gmx.com", "gmx.de", "gmx.net",
        "googlemail.com", "hanmail.net", "hey.com", "home.nl", "hotmail.co.uk", "hotmail.com", "hotmail.de",
        "hotmail.es", "hotmail.fr", "hotmail.it", "icloud.com", "inbox.com", "inbox.ru", "interia.pl", "kpnmail.nl",
        "laposte.net", "libero.it", "list.ru", "live.co.uk", "live.com", "live.fr", "live.nl", "mac.com", "mail.com",
        "mail.ru", "mailbox.org", "me.com", "msn.com", "naver.com", "o2.pl", "onet.pl", "orange.fr", "outlook.com",
        "outlook.de", "outlook.es", "outlook.fr", "pm.me", "posteo.de", "proton.me", "protonmail.com", "qq.com",
        "rambler.ru", "rediffmail.com", "rocketmail.com", "sapo.pt", "sbcglobal.net", "seznam.cz", "sfr.fr",
        "shaw.ca", "sina.com", "sky.com", "t-online.de", "terra.com.br", "tiscali.it", "tuta.com", "tutanota.com",
        "ukr.net", "uol.com.br", "verizon.net", "virgilio.it", "wanadoo.fr", "web.de", "wp.pl", "xs4all.nl",
        "yahoo.ca", "yahoo.co.in", "yahoo.co.jp", "yahoo.co.uk", "yahoo.com", "yahoo.com.br", "yahoo.de", "yahoo.es",
        "yahoo.fr", "yahoo.it", "yandex.com", "yandex.ru", "ymail.com", "ziggo.nl", "zoho.com", "zohomail.com",
    }
)  # fmt: skip
"""As registrable domains, in lower case."""
