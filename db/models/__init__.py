"""Every model, so that importing the package fills `Base.metadata`."""

from db.models.base import Base
from db.models.campaigns import CampaignAction, CampaignEnrollment, CampaignInstance
from db.models.contacts import (
    DOMAIN_BACKWARDS,
    FULL_NAME,
    CampaignExclusion,
    Consent,
    Contact,
    ContactAddress,
    Suppression,
    has_domain,
)
from db.models.conversations import Conversation
from db.models.drafts import ActionDraft
from db.models.events import CampaignEvent, CampaignMessage, OrphanedEvent
from db.models.idempotency import IdempotencyKey
from db.models.mailboxes import Mailbox
from db.models.messages import Message, MessageBody, Thread
from db.models.metrics import CampaignMetrics, EnrollmentTotal
from db.models.pacing import CampaignUsage, SenderUsage
from db.models.reading import MailboxFolder, MailboxLease, UnrelatedMail
from db.models.secrets import Secret
from db.models.security import AccessToken, AuditRecord, UsedTicket
from db.models.sending_domains import SendingDomainRow
from db.models.settings import Settings
from db.models.templates import CampaignTemplate, EmailSequence, LinkedInSequence, TemplateStep
from db.models.webhooks import WebhookDelivery

__all__ = [
    "DOMAIN_BACKWARDS",
    "FULL_NAME",
    "AccessToken",
    "ActionDraft",
    "AuditRecord",
    "Base",
    "CampaignAction",
    "CampaignEnrollment",
    "CampaignEvent",
    "CampaignExclusion",
    "CampaignInstance",
    "CampaignMessage",
    "CampaignMetrics",
    "CampaignTemplate",
    "CampaignUsage",
    "Consent",
    "Contact",
    "ContactAddress",
    "Conversation",
    "EmailSequence",
    "EnrollmentTotal",
    "IdempotencyKey",
    "LinkedInSequence",
    "Mailbox",
    "MailboxFolder",
    "MailboxLease",
    "Message",
    "MessageBody",
    "OrphanedEvent",
    "Secret",
    "SenderUsage",
    "SendingDomainRow",
    "Settings",
    "Suppression",
    "TemplateStep",
    "Thread",
    "UnrelatedMail",
    "UsedTicket",
    "WebhookDelivery",
    "has_domain",
]
