"""Twenty wishes of people who sell, each with the calls that an agent fulfils it by.

"$2.campaign.id" is that part of the second call's answer, "$scene.NAME" of the scene; `*` is of all rows. `shows` says
what the answers must hold, by the same names, and `then` what a call afterwards must show.
"""

from dataclasses import dataclass, field
from typing import Any

Step = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Task:
    """`calls` fulfil the wish; `then` looks at what has become of it, and is not a part of it."""

    wish: str
    calls: list[Step]
    shows: dict[str, Any] = field(default_factory=dict[str, Any])
    then: list[tuple[Step, dict[str, Any]]] = field(default_factory=list[tuple[Step, dict[str, Any]]])


AUTUMN = {"campaign_id": "$scene.autumn"}
SPRING = {"campaign_id": "$scene.spring"}
FORTY = [
    *({"email": f"lead{n}@firm{n}.example", "first_name": f"Lead {n}"} for n in range(37)),
    *({"email": f"spy{n}@rival.example", "first_name": "Spy"} for n in range(3)),
]
EMAIL = {"channel": "email"}

TASKS = [
    Task(
        "Enroll these forty, skip competitors, start on Monday at nine in Berlin.",
        [
            ("suppress", {"domain": "rival.example", "source": "competitor"}),
            (
                "create_campaign",
                {
                    "name": "Forty",
                    "template_id": "$scene.template",
                    "settings": {
                        "timezone": "Europe/Berlin",
                        "sending_window": {"start": "09:00", "end": "17:00"},
                    },
                },
            ),
            (
                "enroll_contacts",
                {"campaign_id": "$2.campaign.id", "contacts": FORTY, "start_at": "2026-11-09T09:00:00+01:00"},
            ),
            ("start_campaign", {"campaign_id": "$2.campaign.id"}),
        ],
        {"3.enrolled": 37, "3.suppressed": 3, "4.campaign.status": "active"},
        [
            (
                ("explain_due", {"campaign_id": "$2.campaign.id"}),
                {"due": False, "next_at": "2026-11-09T08:00:00Z"},
            )
        ],
    ),
    Task(
        "Which of my campaigns has the worst bounce rate?",
        [("list_campaigns", {"status": "active", "rates": True})],
        {"1.campaigns.*.name": ["Spring", "Autumn"], "1.campaigns.*.rates.bounce_rate": [0.5, 0.0]},
    ),
    Task(
        "Pause everything for acme.example.",
        [
            ("list_enrollments", {"domain": "acme.example", "status": "active"}),
            ("update_enrollment", {"enrollment_id": "$1.enrollments.0.id", "action": "pause"}),
            ("update_enrollment", {"enrollment_id": "$1.enrollments.1.id", "action": "pause"}),
        ],
        {"1.enrollments.*.email": ["bob@acme.example", "ann@acme.example"]},
        [(("list_enrollments", {"domain": "acme.example", "status": "active"}), {"enrollments": []})],
    ),
    Task(
        "Who replied yesterday?",
        [
            ("list_campaigns", {"status": "active"}),
            (
                "list_events",
                {
                    "campaign_id": "$1.campaigns.1.id",
                    "event_type": "replied",
                    "since": "2026-11-01T00:00:00Z",
                    "until": "2026-11-02T00:00:00Z",
                },
            ),
            (
                "list_events",
                {
                    "campaign_id": "$1.campaigns.0.id",
                    "event_type": "replied",
                    "since": "2026-11-01T00:00:00Z",
                    "until": "2026-11-02T00:00:00Z",
                },
            ),
        ],
        {"2.events.*.email": ["eve@example.com"], "3.events": []},
    ),
    Task(
        "Why did nothing go out today?",
        [
            ("list_campaigns", {"status": "active"}),
            ("explain_due", {"campaign_id": "$1.campaigns.0.id"}),
            ("explain_due", {"campaign_id": "$1.campaigns.1.id"}),
        ],
        {"2.holds.0.reason": "outside_window", "2.next_at": "2026-11-03T09:00:00Z", "3.due": True},
    ),
    Task(
        "Send the next three emails of the autumn campaign.",
        [
            ("claim_due_actions", {**AUTUMN, "channel": "email", "limit": 3}),
            *(
                (
                    "complete_action",
                    {
                        "action_id": f"$1.actions.{n}.action_id",
                        "lease_token": f"$1.actions.{n}.lease_token",
                        "outcome": "sent",
                        "provider": "smtp",
                        "provider_message_id": f"<{n}@mail.example>",
                    },
                )
                for n in range(3)
            ),
        ],
        {"1.actions.*.step_number": [1, 1, 1]},
        [(("get_metrics", AUTUMN), {"totals.sent": 5})],
    ),
    Task(
        "How will the first email to Ann read?",
        [
            ("find_contacts", {"email": "ann@acme.example"}),
            ("preview_action", {**AUTUMN, "contact_id": "$1.contacts.0.id", "step_number": 1}),
        ],
        {"2.subject": "Hello Ann"},
    ),
    Task(
        "Ann called: never write to her again.",
        [("suppress", {"email": "ann@acme.example", "reason": "unsubscribed", "source": "phone"})],
        {"1.stopped_enrollments": 1},
        [
            (
                ("list_enrollments", {**AUTUMN, "status": "unsubscribed"}),
                {"enrollments.*.email": ["ann@acme.example"]},
            )
        ],
    ),
    Task(
        "Who unsubscribed last week has asked us in writing to be written to again.",
        [
            ("unsuppress", {"email": "una@example.com", "has_new_consent": True}),
            ("enroll_contacts", {"campaign_id": "$scene.draft", "contacts": [{"email": "una@example.com"}]}),
        ],
        {"1.lifted.reason": "unsubscribed", "1.still_suppressed_by": [], "2.enrolled": 1},
    ),
    Task(
        "What has become of Eve, in all campaigns?",
        [
            ("find_contacts", {"email": "eve@example.com"}),
            ("list_enrollments", {"contact_id": "$1.contacts.0.id"}),
            ("get_enrollment", {"enrollment_id": "$2.enrollments.0.id"}),
        ],
        {
            "2.enrollments.*.campaign_id": ["$scene.autumn"],
            "3.enrollment.stop_reason": "replied",
            "3.enrollment.events.*.event_type": ["sent", "replied"],
        },
    ),
    Task(
        "Send at most thirty a day in the autumn campaign, and nothing on Christmas Day.",
        [
            ("get_campaign", AUTUMN),
            ("update_campaign", {**AUTUMN, "settings": {"daily_limit": 30, "holidays": ["2026-12-25"]}}),
        ],
        {"1.campaign.settings": {"timezone": "UTC"}},
        [
            (
                ("get_campaign", AUTUMN),
                {"campaign.settings": {"timezone": "UTC", "daily_limit": 30, "holidays": ["2026-12-25"]}},
            )
        ],
    ),
    Task(
        "Give people five days instead of three before the second email.",
        [
            ("get_template", {"template_id": "$scene.template"}),
            (
                "update_template",
                {
                    "template_id": "$scene.template",
                    "email_steps": [
                        {
                            "step_number": 2,
                            "subject": "$1.template.email_steps.1.subject",
                            "body": "$1.template.email_steps.1.body",
                            "delay_hours": 120,
                        }
                    ],
                },
            ),
        ],
        {"1.template.email_steps.*.delay_hours": [0, 72], "2.template.email_steps.*.delay_hours": [0, 120]},
    ),
    Task(
        "Somebody's first name was missing, so that it stopped. It is Noah.",
        [
            ("list_enrollments", {**AUTUMN, "status": "paused", "detail": "full"}),
            ("upsert_contacts", {"contacts": [{"email": "$1.enrollments.0.email", "first_name": "Noah"}]}),
            ("update_enrollment", {"enrollment_id": "$1.enrollments.0.id", "action": "resume"}),
            ("preview_action", {"enrollment_id": "$1.enrollments.0.id"}),
        ],
        {"2.updated": 1, "3.enrollment.status": "active", "4.subject": "Hello Noah"},
    ),
    Task(
        "The provider reports opens of people whom we have not enrolled. Enroll them, and count the opens.",
        [
            ("list_orphaned_events", {"status": "waiting"}),
            ("enroll_contacts", {**AUTUMN, "contacts": [{"email": "$1.orphans.0.email"}]}),
            ("list_orphaned_events", {"status": "waiting"}),
        ],
        {"1.orphans.*.email": ["late@example.com"], "2.enrolled": 1, "3.orphans": []},
        [(("get_metrics", AUTUMN), {"totals.opened": 1})],
    ),
    Task(
        "Enter what came in by phone: Ann wants to talk, and Bob's address no longer exists.",
        [
            (
                "record_events",
                {
                    "events": [
                        {**EMAIL, **AUTUMN, "event_type": "replied", "email": "ann@acme.example"},
                        {**EMAIL, **SPRING, "event_type": "bounced", "email": "bob@acme.example"},
                    ]
                },
            )
        ],
        {"1.recorded": 2},
        [
            (("list_enrollments", {"domain": "acme.example"}), {"enrollments.*.status": ["bounced", "completed"]}),
            (("list_suppressions", {"reason": "bounced"}), {"suppressions.0.email": "bob@acme.example"}),
        ],
    ),
    Task(
        "Which subject works better, and can I trust it?",
        [("get_metrics", {**SPRING, "group_by": "variant"})],
        {"1.comparison.variants": ["A", "B"], "1.comparison.sample_ratio.mismatch": False},
    ),
    Task(
        "Delete everything that you have on Eve.",
        [("erase_contact", {"email": "eve@example.com"})],
        {"1.was_erased_before": False},
        [(("find_contacts", {"search": "eve@example"}), {"contacts": []})],
    ),
    Task(
        "Look these companies up once, and don't pay for it twice.",
        [
            ("cache_get", {"namespace": "companies", "key": "acme.example"}),
            ("create_job", {"type": "enrichment", "parameters": {"domain": "acme.example"}, "dedupe_key": "acme"}),
            ("claim_job", {"worker_id": "me", "types": ["enrichment"]}),
            ("cache_set", {"namespace": "companies", "key": "acme.example", "value": {"staff": 40}}),
            (
                "complete_job",
                {"job_id": "$3.job.id", "lease_token": "$3.job.lease_token", "result": {"staff": 40}},
            ),
        ],
        {"1.hit": False, "3.job.parameters": {"domain": "acme.example"}, "5.job.status": "completed"},
        [(("cache_get", {"namespace": "companies", "key": "acme.example"}), {"hit": True, "value": {"staff": 40}})],
    ),
    Task(
        "Stop the spring campaign for good, and tell me who changed it before.",
        [
            ("complete_campaign", SPRING),
            ("list_audit", {"tool": "complete_campaign"}),
            ("list_audit", {"tool": "start_campaign", "limit": 5}),
        ],
        {"1.campaign.status": "completed", "2.records.*.outcome": ["ok"], "3.records.*.actor": ["local", "local"]},
        [
            (
                ("list_enrollments", {**SPRING, "status": "active"}),
                {"enrollments": []},
            )
        ],
    ),
    Task(
        "Write to new people, and again a week later to whoever has not answered. Show me both mails first.",
        [
            (
                "create_template",
                {
                    "name": "Two mails",
                    "type": "email",
                    "email_steps": [
                        {"step_number": 1, "subject": "A question, {{ first_name }}", "body": "May I ask you ..."},
                        {"step_number": 2, "subject": "My question", "body": "You are busy ...", "delay_hours": 168},
                    ],
                },
            ),
            ("create_campaign", {"name": "Two mails", "template_id": "$1.template.id"}),
            (
                "enroll_contacts",
                {"campaign_id": "$2.campaign.id", "contacts": [{"email": "zoe@example.com", "first_name": "Zoë"}]},
            ),
            ("preview_action", {"enrollment_id": "$3.results.0.enrollment_id", "step_number": 1}),
            ("preview_action", {"enrollment_id": "$3.results.0.enrollment_id", "step_number": 2}),
        ],
        {"4.subject": "A question, Zoë", "5.subject": "My question", "2.campaign.status": "draft"},
    ),
]
