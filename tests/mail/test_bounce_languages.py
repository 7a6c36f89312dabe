"""What a server's answer says in languages other than English."""

import pytest

from db.domain.mail.bounces import reason_of
from db.domain.mail.verdict import BounceKind

UNKNOWN = """
    utilisateur ann inconnu
    ann existiert nicht
    Postbus is ongeldig
    ann bestaat niet
    Mottagaren finns inte
    Tuntematon käyttäjä
    Nie ma takiego konta
    To konto nie istnieje
    Nie znaleziono skrzynki
    Schránka neexistuje
    Ismeretlen címzett
    A cím nem létezik
    Kullanıcı bulunamadı
    Geçersiz alıcı
    Ящика ann не существует
    Нет такого ящика
    Ящик не зарегистрирован
    Адрес заблокирован
    Скриньки не існує
    Скриньку не знайдено
    Невідомий отримувач
    宛先が不明です
    そのメールボックスは存在しません
    メールボックスが見つかりませんでした
    存在しないメールアドレスです
    そのメールは存在しておりません
    ディレクトリのリストにありません
    ユーザーはおりません
    該当するユーザーなし
    用户不存在
    找不到收件人
    无此用户
    無此帳號
    查無此人
    無效地址
    邮箱已停用
    사용자를 찾을 수 없습니다
    사용자가 없습니다
    수신자가 없습니다
    없는 주소입니다
    알 수 없는 수신자
    Le domaine n'existe pas
    Unbekannte Domain
"""
FULL = """
    Boîte aux lettres pleine
    Buzón lleno
    La casella è piena
    Postvak is vol
    Der Speicherplatz ist erschöpft
    Espacio insuficiente
    Skrzynka jest pełna
    Schránka je přeplněna
    Ящик переполнен
    Превышена квота
    Превышен размер ящика
    容量オーバー
    メールボックスがいっぱいです
    邮箱已满
    邮箱满了
    邮箱空间不足
    超出限制
    용량 초과
"""
SENDERS = """
    Это спам
    В черном списке
    Courrier indésirable
    Pourriel
    Correo no deseado
    Lista negra
    Liste noire
    Schwarze Liste
    垃圾郵件
    收件人拒收
    在黑名单中
    在黑名單中
    迷惑メール
    スパムです
    受信拒否
    스팸
    차단
"""


def _lines(table: str) -> list[str]:
    return [line.strip() for line in table.strip().splitlines()]


@pytest.mark.parametrize("answer", _lines(UNKNOWN))
def test_an_address_that_does_not_exist_is_hard(answer: str) -> None:
    assert reason_of((f"550 {answer}",))[0] is BounceKind.HARD


@pytest.mark.parametrize("answer", _lines(FULL))
def test_a_full_mailbox_is_full(answer: str) -> None:
    assert reason_of((f"550 {answer}",))[0] is BounceKind.FULL


@pytest.mark.parametrize("answer", _lines(SENDERS))
def test_a_refused_sender_is_never_hard(answer: str) -> None:
    assert reason_of((f"550 {answer}. No such user",))[0] is BounceKind.POLICY
