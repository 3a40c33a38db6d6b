"""Reads a message on standard input with the email module, tells as JSON what it is made of."""
import email
import email.policy
import json
import sys

message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.SMTPUTF8)


def tell(part):
    told = {
        "type": part.get_content_type(),
        "headers": [[name, str(value)] for name, value in part.items()],
        "defects": [type(defect).__name__ for defect in part.defects],
    }
    if part.is_multipart():
        told["parts"] = [tell(inner) for inner in part.get_payload()]
    else:
        told["text"] = part.get_payload(decode=True).decode("utf-8", "replace")
    return told


json.dump(tell(message), sys.stdout)
