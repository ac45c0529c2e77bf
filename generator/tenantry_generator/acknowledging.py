"""Looking at holds and acknowledging them: what a person needs who is woken up by one.

An acknowledgement names a hash and with it exactly the names that were held when it was looked at. It takes a token of
its own: the one that Argo CD sends lies in Argo CD's namespace.
"""

from dataclasses import dataclass
from typing import Any

from tenantry.telemetry import get_logger
from tenantry_generator.answers import Answers
from tenantry_generator.contacts import HOLDS
from tenantry_generator.contract import encode_time
from tenantry_generator.errors import Refused
from tenantry_generator.first_contact import Contact
from tenantry_generator.guard import Hold
from tenantry_generator.membership import Acknowledgement, Membership, acknowledge, holds, take, unheld
from tenantry_generator.publisher import Publisher

__all__ = ["Acknowledged", "acknowledge_hold", "describe"]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What came of it: the names let go, or none yet when `pending` says why."""

    set: str
    released: tuple[str, ...]
    pending: str | None


def describe(publisher: Publisher, answers: Answers) -> list[dict[str, Any]]:
    """Return every hold and every refused first contact as JSON, the oldest hold first."""
    acknowledged = publisher.membership.acknowledged
    found = [_hold(hold, acknowledged.get(hold.hash)) for hold in holds(publisher.membership)]
    return found + [_contact(contact, acknowledged.get(contact.hash)) for contact in answers.contacts.refused]


async def acknowledge_hold(publisher: Publisher, answers: Answers, given: str, *, by: str) -> Acknowledged:
    """Agree to what `given` is the hash of. Refused: 404 there is none, 409 somebody has; NotReady."""
    outcome: Acknowledged | None = None

    def change(membership: Membership, now: float) -> Membership:
        nonlocal outcome
        if given in membership.acknowledged:
            raise Refused(409, f"the hold {given} was acknowledged already, by {membership.acknowledged[given].by}")
        held = next((hold for hold in holds(membership) if hold.hash == given), None)
        contact = next((each for each in answers.contacts.refused if each.hash == given), None)
        if held is None and contact is None:
            raise Refused(404, f"there is no hold {given}; GET {HOLDS} lists those there are")
        membership = acknowledge(membership, given, by=by, now=now)
        if held is None:
            outcome = Acknowledged("first contact", (), "the next request of the ApplicationSet is answered")
            return membership
        outcome = Acknowledged(held.set, tuple(sorted(held.names)), None)
        for source, listing in membership.sources.items():
            if held in listing.holds and publisher.feeds.is_sure(source):
                return take(membership, source, unheld(listing), now=now)
        return membership  # held by a view: let go of with this change if every source can be read

    after = await publisher.change(change)
    if outcome is None:
        raise Refused(404, f"there is no hold {given}")
    if outcome.pending is None and after.acknowledged[given].used is None:
        why = "a source can't be read now, so it is not known who is still missing; this stays valid for an hour"
        outcome = Acknowledged(outcome.set, (), why)
    log.warning("a hold was acknowledged", hash=given, by=by, set=outcome.set, released=list(outcome.released))
    return outcome


def _hold(hold: Hold, agreed: Acknowledgement | None) -> dict[str, Any]:
    return {
        "hash": hold.hash,
        "set": hold.set,
        "since": encode_time(hold.since),
        "tenants": sorted(hold.names),
        "why": hold.why,
        "acknowledgedBy": None if agreed is None else agreed.by,
        "then": "nothing happens until this is acknowledged; then Argo CD deletes their Applications",
        "acknowledge": _how(hold.hash),
    }


def _contact(contact: Contact, agreed: Acknowledgement | None) -> dict[str, Any]:
    return {
        "hash": contact.hash,
        "set": f"first contact of ApplicationSet {contact.applicationset}",
        "since": None,
        "tenants": [],
        "why": f"it owns {contact.owned} Applications and would be answered with {contact.elements} elements",
        "acknowledgedBy": None if agreed is None else agreed.by,
        "then": "acknowledged, it is answered, and Argo CD deletes the Applications that are not in the answer",
        "acknowledge": _how(contact.hash),
    }


def _how(given: str) -> str:
    return f'POST {HOLDS} {{"hash": "{given}"}} with a token of TENANTRY_ADMIN_TOKEN_DIR'
