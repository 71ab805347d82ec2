"""The recording hub that many tests share: what one of them asked is none of the next one's calls."""

import socket

from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport
from tests.web.recording_hub import served_hub

LEFT = b"GET /hub/status HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


def test_a_question_that_was_left_alone_is_not_heard_in_the_next_test() -> None:
    """Its connection may not even have been taken when its asker went, and its test ended."""
    with served_hub() as served:
        for _ in range(100):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", served.port)) as left:
                    left.sendall(LEFT)
            served.fresh()
            HubClient(Transport(served.url)).alerts()

            assert [call[0] for call in served.hub.calls] == ["alerts"]
