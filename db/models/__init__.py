"""Every model, so that importing the package fills `Base.metadata`."""

from db.models.base import Base
from db.models.campaigns import CampaignAction, CampaignEnrollment, CampaignInstance
from db.models.contacts import Consent, Contact, ContactAddress, Suppression, email_domain
from db.models.events import CampaignEvent, CampaignMessage, OrphanedEvent
from db.models.idempotency import IdempotencyKey
from db.models.metrics import CampaignMetrics, EnrollmentTotal
from db.models.pacing import CampaignUsage, SenderUsage
from db.models.secrets import Secret
from db.models.security import AccessToken, AuditRecord, UsedTicket
from db.models.templates import CampaignTemplate, EmailSequence, LinkedInSequence, TemplateStep
from db.models.webhooks import WebhookDelivery

__all__ = [
    "AccessToken",
    "AuditRecord",
    "Base",
    "CampaignAction",
    "CampaignEnrollment",
    "CampaignEvent",
    "CampaignInstance",
    "CampaignMessage",
    "CampaignMetrics",
    "CampaignTemplate",
    "CampaignUsage",
    "Consent",
    "Contact",
    "ContactAddress",
    "EmailSequence",
    "EnrollmentTotal",
    "IdempotencyKey",
    "LinkedInSequence",
    "OrphanedEvent",
    "Secret",
    "SenderUsage",
    "Suppression",
    "TemplateStep",
    "UsedTicket",
    "WebhookDelivery",
    "email_domain",
]
