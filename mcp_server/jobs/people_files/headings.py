"""Headings of columns, as programs write them, and the field of a person for each.

Headings are compared only by letters and digits, without accents: `E-Mail`, `E mail`, `e_mail` and `EMAIL` are the
same.
"""

import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

FULL_NAME: Final = "full_name"
"""No field of a contact: a first and a last name in one."""
DOMAIN: Final = "domain"
"""No field of a contact: all addresses of one domain, in a list of suppressions."""
_LONGEST: Final = 200
# Each field's headings, the best first. If a file has several of them, the first gives the field; for addresses, the
# next one is used in rows where it is empty.
_HEADINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "email": """
            email emailaddress primaryemail primaryemailaddress workemail workemailaddress emailwork businessemail
            businessemailaddress companyemail corporateemail professionalemail officeemail emailbusiness
            email1value email1 email1address emailaddress1 emailprimary directemail mailid emails emailaddresses
            emailid useremail mailaddress mail
            emailadresse mailadresse emailgeschaftlich geschaftlicheemail
            adressedemessagerie adresseemail adressemail adresseelectronique courriel adressecourriel
            correoelectronico direcciondecorreoelectronico direcciondecorreo correo direccionemail
            indirizzoemail indirizzodipostaelettronica indirizzopostaelettronica emailadres
            enderecodeemail enderecodecorreioeletronico enderecoemail
            email2value email2address emailaddress2 email2adresse email2 emailadresse2 adressedemessagerie2
            direcciondecorreoelectronico2 secondaryemail secondaryemailaddress additionalemail additionalemailaddress
            additionalemailaddresses alternateemail alternateemailaddress otheremail emailother
            personalemail personalemailaddress privateemail homeemail emailhome emailpersonal emailprivate
            email3value email3address email3adresse email3 emailadresse3 adressedemessagerie3
            direcciondecorreoelectronico3 tertiaryemail
        """,
        "linkedin_url": """
            linkedinurl linkedin linkedinprofileurl linkedinprofile linkedinprofilelink linkedinlink linkedinpublicurl
            linkedinurlpublic publiclinkedinurl publicprofileurl hslinkedinurl linkedinurlunique linkedinaddress
            linkedinpage linkedinpersonurl linkedinid linkedincontact linkedinaccount linkedinprofil profillinkedin
            perfildelinkedin perfillinkedin urllinkedin defaultprofileurl linkedinhandle
        """,
        "first_name": """
            firstname givenname forename fname first christianname vorname prenom nombredepila primernombre
            voornaam primeironome
        """,
        "last_name": """
            lastname surname familyname lname last nachname familienname nomdefamille apellidos apellido achternaam
            cognome sobrenome
        """,
        FULL_NAME: """
            fullname name displayname nameoftheperson completename nomcomplet nombrecompleto nombreyapellidos
            vollstandigername volledigenaam nomecompleto nomecompleto nomprenom vorundnachname
        """,
        "company": """
            company companyname currentcompany companynameforemails organization organisation organizationname
            organisationname organization1name associatedcompany primaryassociatedcompany associatedcompanyname
            accountname account employer business businessname firm workplace org
            companyaccount employername currentemployer
            firma firmenname unternehmen societe entreprise nomdelentreprise empresa nombredelaempresa azienda bedrijf
            compania organizacion
        """,
        "title": """
            jobtitle currenttitle currentjobtitle jobposition position currentposition organizationtitle
            organization1title jobrole designation professionaltitle worktitle
            jobtitel berufsbezeichnung stellenbezeichnung fonction poste titreduposte intituleduposte cargo puesto
            funcao functie ruolo funktion title role
        """,
        "timezone": """
            timezone timezonename timezoneid tz ianatimezone hstimezone timezonesidkey locationtimezone zeitzone
            fuseauhoraire zonahoraria
        """,
        DOMAIN: "domain domainname companydomain companydomainname websitedomain",
    }
)
# Headings of columns that hold addresses in some files, and something else in others. The rows below decide.
_MAYBE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "address": "email",
        "recipient": "email",
        "to": "email",
        "username": "email",
        "login": "email",
        "identifier": "email",
        "url": "linkedin_url",
        "profile": "linkedin_url",
        "profileurl": "linkedin_url",
        "profilelink": "linkedin_url",
        "personurl": "linkedin_url",
        "link": "linkedin_url",
        "website": "linkedin_url",
        "webpage": "linkedin_url",
        "website1value": "linkedin_url",
    }
)
# Prefixes that CRMs write: "Person - Email", "Contact: First Name", "Lead Email".
_PREFIXES: Final = (
    "person",
    "contact",
    "lead",
    "prospect",
    "recipient",
    "customer",
    "candidate",
    "subscriber",
    "member",
)
# In a file with a column for first names, these headings mean last names.
_LAST_BESIDE_FIRST: Final[Mapping[str, str]] = MappingProxyType(
    {"name": "vorname", "nom": "prenom", "nombre": "apellidos", "naam": "voornaam"}
)
_LETTERS: Final = re.compile(r"[\W_]+")


class Place(NamedTuple):
    """The field of a heading, and the rank of the heading for it: 0 is best. `is_sure`: whatever the rows
    hold, it is that field."""

    field: str
    rank: int
    is_sure: bool = True


_PLACES: Final[Mapping[str, Place]] = MappingProxyType(
    {
        heading: Place(field, rank)
        for field, headings in _HEADINGS.items()
        for rank, heading in reversed([*enumerate(headings.split())])
    }
)


def key(heading: str) -> str:
    """Returns the form in which headings are compared."""
    if len(heading) > _LONGEST:
        return ""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", heading) if not unicodedata.combining(letter))
    return _LETTERS.sub("", plain.casefold())


def without_prefix(name: str) -> list[str]:
    """Returns the key of a heading, and the key without the prefix of a CRM."""
    return [name, *(name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix))]


def place(heading: str) -> Place | None:
    """Returns the field of a heading, or None."""
    for name in without_prefix(key(heading)):
        if name in _PLACES:
            return _PLACES[name]
        if name in _MAYBE:
            return Place(_MAYBE[name], _LONGEST, is_sure=False)
    return None


def places(headings: list[str]) -> list[Place | None]:
    """Returns the field of each heading of a file. If a heading has several meanings, the other headings decide."""
    keys = [key(heading) for heading in headings]
    found = [place(heading) for heading in headings]
    has_last_name = any(named is not None and named.field == "last_name" for named in found)
    for index, name in enumerate(keys):
        if name == "nombre" and has_last_name:
            found[index] = Place("first_name", 0)
        elif not has_last_name and _LAST_BESIDE_FIRST.get(name) in keys:
            found[index] = Place("last_name", 0)
        elif name in ("nom", "nombre", "naam") and found[index] is None:
            found[index] = Place(FULL_NAME, 1)
    return found
