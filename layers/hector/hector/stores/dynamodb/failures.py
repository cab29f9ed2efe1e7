"""What botocore raises, as the product's errors: one sentence that names the setting and says what to do."""

from __future__ import annotations

from typing import Any

from hector.errors import InputTooLarge, StoreUnavailable
from hector.stores.dynamodb.rows import Row, plain

_BUSY = {
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
}
_REFUSED = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}
_USED = ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem")
_KEYS = "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class ConditionFailed(Exception):
    """A conditional write changed nothing, because of the `row` that it met (empty: there is none)."""

    def __init__(self, row: Row) -> None:
        super().__init__("The condition of a write was not met.")
        self.row = row


class Throttled(StoreUnavailable):
    """The table is busy: the same call may succeed in a moment."""


def translated(error: Exception, table: str, endpoint_url: str | None) -> Exception:
    """The error to raise for a botocore error."""
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        return _refused(response, table, str(getattr(error, "operation_name", "")))
    where = endpoint_url or "DynamoDB"
    match type(error).__name__:
        case "NoCredentialsError" | "PartialCredentialsError" | "CredentialRetrievalError" | "ProfileNotFound":
            return StoreUnavailable(f"DynamoDB needs AWS credentials ({error}): set {_KEYS}.")
        case "TokenRetrievalError" | "SSOTokenLoadError" | "UnauthorizedSSOTokenError" | "LoginError":
            return StoreUnavailable(f"The AWS login has run out ({error}): log in again, or set {_KEYS}.")
        case _:
            return StoreUnavailable(
                f"{where} cannot be reached for table {table!r} ({error}): "
                "check session_store.region, session_store.endpoint_url and the network."
            )


def busy(table: str, why: str = "") -> Throttled:
    return Throttled(f"The DynamoDB table {table!r} is busy{why}: try again in a moment.")


def code_of(error: BaseException | None) -> str:
    """What AWS calls an error, if it is one of AWS's."""
    response = getattr(error, "response", None)
    return str(response["Error"].get("Code", "")) if isinstance(response, dict) and "Error" in response else ""


def _refused(response: dict[str, Any], table: str, operation: str) -> Exception:
    code = response["Error"].get("Code", "")
    message = response["Error"].get("Message", "")
    if code == "ConditionalCheckFailedException":
        return ConditionFailed(plain(response.get("Item", {})))
    if code == "TransactionCanceledException":
        reasons = [reason for reason in response.get("CancellationReasons", []) if reason.get("Code") != "None"]
        if reasons and reasons[0]["Code"] == "ConditionalCheckFailed":
            return ConditionFailed(plain(reasons[0].get("Item", {})))
        return busy(table, f" ({', '.join(reason['Code'] for reason in reasons) or message})")
    if code == "ValidationException" and message.startswith("Item size"):
        return InputTooLarge("This is larger than DynamoDB takes: an item has at most 400 KB. Send less at once.")
    if code == "ResourceNotFoundException":
        return StoreUnavailable(
            f"There is no DynamoDB table {table!r} in this region and account: deploy the stack, or run "
            "hector store init, or correct session_store.table and session_store.region."
        )
    if code == "ValidationException" and "index name" in message:
        return StoreUnavailable(
            f"{table!r} can be no table's name: give session_store.table 3 to 255 of the characters a-z, A-Z, 0-9, "
            "'_', '-' and '.'."
        )
    if code == "ValidationException" and "index" in message:
        return StoreUnavailable(
            f"The DynamoDB table {table!r} is not one of this product's ({message}): deploy the stack."
        )
    if code in _REFUSED:
        # A transaction has no permission of its own: it needs those of what it does.
        is_used = operation in (*_USED, "TransactWriteItems")
        needed = "dynamodb:" + (", ".join(_USED) if is_used else operation)
        return StoreUnavailable(
            f"AWS does not let these credentials call {operation} on the DynamoDB table {table!r} ({code}): "
            f"check {_KEYS}, and that their policy allows {needed} on the table and its index."
        )
    if code in _BUSY:
        return busy(table, f" ({code})")
    return StoreUnavailable(f"DynamoDB refused a request to table {table!r}: {code}: {message}")
