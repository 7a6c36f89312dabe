"""The keyed hash that stands for an address of somebody who was erased.

It is made in SQL, so that a set of addresses costs no more statements than one, and the key never leaves the database.
"""

SECRET_NAME = "erasure"  # noqa: S105  the name of a row, not what stands in it

# k is the row of the secret. Nested, as in HMAC, so that a hash says nothing of one of a longer text.
HASH_OF = "sha256(k.value || sha256(k.value || convert_to(lower({address}), 'UTF8')))"
