"""A function for events: it writes each one down, and fails what says so."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import json
import os


def handler(event, context):
    """A message "fail" fails by itself; "break" fails the whole batch; "hide" is hidden for 1 s and fails, once; "loop"
    is sent again."""
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(json.dumps(event) + "\n")
    failed = []
    for record in event.get("Records", []):
        text = record.get("body") or record.get("dynamodb", {}).get("Keys", {}).get("pk", {}).get("S", "")
        if text == "break":
            raise ValueError("broken")
        if text == "hide" and record["attributes"]["ApproximateReceiveCount"] == "1":
            hide(record)
            failed.append(record["messageId"])
        if text == "fail":
            failed.append(record.get("messageId") or record["dynamodb"]["SequenceNumber"])
        if text == "loop":
            sender({"text": "loop"}, context)
    return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}


def hide(record):
    import boto3

    queue = os.environ["QUEUE"]
    boto3.client("sqs").change_message_visibility(
        QueueUrl=queue, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=1
    )


def sender(event, context):
    """Sends the event's text to the queue, as any function does."""
    import boto3

    answer = boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=event["text"])
    return {"sent": answer["MessageId"]}
