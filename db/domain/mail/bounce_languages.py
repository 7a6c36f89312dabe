"""Words of servers that don't write English, for the tables in `bounce_words`."""

from typing import Final

UNKNOWN_USER: Final = r"""
    # French
    (?:adresse|destinataire|compte|bo[iî]te|bo[iî]te aux lettres|utilisateur|\
        messagerie) ~ (?:inconnue?|invalide|incorrecte?|d[ée]sactiv\w*|inexistante?|introuvable|supprim\w*|\
        n'existe|ferm[ée]e?|n'est (?:pas|plus) (?:valide|active?|attribu\w*))
    # Spanish, Portuguese, Italian
    (?:usuario|direcci[oó]n|destinatario|cuenta|buz[oó]n|casilla|correo|persona) ~ (?:no existe|desconocid[oa]|\
        inexistente|inv[áa]lid[oa]|no es|incorrect[oa]|no se encontr\w*|no (?:fue )?encontrad[oa]|\
        deshabilitad[oa]|desactivad[oa]|(?:ha )?expirad[oa]|inactiv[oa]|no activ[oa])|no existe (?:dich[oa]|\
        es[ea]|est[ea]|tal|el|la|ning[uú]n\w*) ~ (?:usuario|\
        persona|cuenta|buz[oó]n|direcci[oó]n|destinatario)
    (?:usu[áa]rio|endere[çc]o|conta|destinat[áa]rio|caixa postal|caixa de correio) ~ (?:inexistente|\
        desconhecid\w*|inv[áa]lid\w*|n[ãa]o (?:existe|foi (?:encontrad|localizad)\w*|encontrad\w*|localizad\w*|\
        [ée] v[áa]lid\w*)|desativad\w*|bloquead\w*)
    (?:indirizzo|utente|destinatario|destin|casella|account) ~ (?:inesistente|errat[oa]|bloccat[oa]|\
        sconosciut[oa]|non (?:esiste|valid[oa]|\
        trovat[oa]|attiv[oa]|[èe] (?:valid|stat|attiv|pi[uù])\w*)|disabilitat[oa]|disattivat[oa])|nessun utente
    # German, Dutch
    (?:empfänger|adresse|benutzer|postfach|konto|e-mail-adresse|empfaenger|mailbox|nutzer)\w* ~ (?:unbekannt|\
        ungültig|unzustellbar|nicht (?:gefunden|bekannt|mehr|vorhanden|existent|erreichbar|gültig)|existiert|\
        deaktiviert|gesperrt|gelöscht|geschlossen)|existiert nicht|(?:unbekannte|ungültige|\
        falsche|kein|keine)[rns]? (?:solche[rns]? )?(?:empfänger|empfaenger|adresse|benutzer|postfach|nutzer|\
        e-mail-adresse)\w*
    (?:adres|gebruiker|ontvanger|postbus|mailadres|account) ~ (?:onbekend|bestaat niet|niet (?:gevonden|bekend|\
        geldig|meer)|ongeldig)|bestaat niet|(?:onbekende?|ongeldige?) (?:gebruiker|ontvanger|adres|mailadres|postbus)
    # Swedish, Norwegian, Danish, Finnish
    (?:okänd|ukjent|ukendt|ogiltig|ugyldig) (?:användare|mottagare|bruker|mottaker|bruger|modtager|adress\w*)|\
        (?:användaren|mottagaren|adressen|brukeren|mottakeren|brugeren|modtageren) ~ (?:finns inte|finnes ikke|\
        findes ikke|eksisterer ikke|existerar inte)|tuntematon (?:käyttäjä|vastaanottaja)
    # Polish, Czech, Slovak, Hungarian, Turkish
    nieznany (?:użytkownik|adresat|odbiorca|adres)|nie ma takiego|nie istnieje|konto ~ (?:nieaktywne|\
        zablokowane)|nie znaleziono (?:użytkownika|\
        skrzynki|adresata|odbiorcy)|neexist\w*|nezn[áa]m[ýy] (?:u[žz]ivate[lľ]|p[řr][íi]jemce|adres[áa]t)|\
        ismeretlen (?:címzett|felhasználó)|nem létez\w*|kullanıcı ~ (?:bulunamadı|yok|geçersiz)|(?:geçersiz|\
        bilinmeyen) (?:alıcı|kullanıcı|adres)
    # Russian, Ukrainian
    не существует|не найден\w*|нет такого|не зарегистрирован\w*|(?:ящик|пользовател\w*|адрес|учетн\w*|\
        получател\w*) ~ (?:заблокирован\w*|отключен\w*|удален\w*|неактив\w*|неизвест\w*)|(?:неизвестн|\
        недействительн|неверн|неправильн)\w* (?:получател|пользовател|адрес|ящик|почтов)\w*|не існує|не знайден\w*|\
        невідом\w* (?:користувач|отримувач|одержувач|адрес)\w*
    # Japanese, Chinese, Korean: no space between words
    (?:宛先|あて先|宛て先)(?:が|は|の|メールアドレスが|アドレスが)*(?:不明|存在し|見つか|間違)|存在しません|\
        見つかりません(?:でした)?|存在しない|存在しておりません|リストにありません|(?:ユーザー?|\
        アドレス)(?:は|が)(?:おりません|いません|ありません)|該当(?:する)?(?:ユーザー?|アドレス)
    不存在|找不到|无此用户|無此|查无此人?|无效(?:用户|地址|邮箱|收件人|的收件人)|無效(?:用戶|地址|的收件者)|停用
    존재하지 않|찾을 수 없|사용자가 없|수신자가 없|없는 (?:사용자|주소|계정|수신자)
"""

UNKNOWN_HOST: Final = r"""
    (?:domaine|dominio|domäne|domain|domein|domínio|домен) ~ (?:n'existe|no existe|inexistant|inexistente|inconnu|\
        existiert|unbekannt|bestaat niet|não existe|non esiste|не существует|не найден)|\
        (?:unbekannte|unbekannter) (?:domain|host|domäne)
"""

FULL: Final = r"""
    bo[iî]te ~ pleine|postfach ~ (?:voll|überfüllt)|buz[oó]n ~ llen[oa]|casella ~ piena|\
        caixa ~ cheia|postvak ~ vol|(?:cuota|cota|quota|quote) ~ (?:excedid\w*|superad\w*|excedida|dépass\w*|\
        überschritten)|speicherplatz ~ (?:erschöpft|überschritten|voll)|espa(?:ce|cio|ço) ~ (?:insuffisant|\
        insuficiente)|skrzynka ~ (?:pełna|przepełniona)|přeplněn\w*
    переполнен\w*|квот\w*|превыш\w* ~ (?:ящик\w*|хранилищ\w*)|容量|いっぱい|已满|邮箱满|空间不足|超出|용량
"""

BAD_SENDER: Final = r"""
    (?:absender|exp[ée]diteur|[ée]metteur|remitente|remetente|mittente|afzender|nadawca|odes[íi]latel|отправител|\
        відправник)\w* ~ (?:abgelehnt|unbekannt|ungültig|existiert|gesperrt|inconnue?|invalide|rejet\w*|refus\w*|\
        inv[áa]lid\w*|desconocid\w*|no existe|rechazad\w*|rejeitad\w*|n[ãa]o existe|non esiste|sconosciut\w*|\
        rifiutat\w*|onbekend|ongeldig|geweigerd|nieznany|не существует|неизвест\w*|отклон\w*|заблокирован\w*|\
        не найден\w*)
    спам\w*|черн\w+ спис\w+|courrier ind[ée]sirable|pourriel|correo no deseado|lista (?:negra|nera)|liste noire|\
        schwarze liste
    (?:发件人|寄件人|发信人|寄件者|送信者|送信元|差出人).{0,12}(?:不存在|存在し|拒否|无效|無效|拒绝|拒絕|错误)|垃圾邮件|\
        垃圾郵件|拒收|黑名单|黑名單|迷惑メール|スパム|受信拒否|스팸|차단
"""
