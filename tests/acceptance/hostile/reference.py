"""What an echo server answers to a stream of bytes, by wsproto: a second opinion on ours."""

from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from tests.acceptance.hostile.peer import CLOSE, PONG

Answer = tuple[int, bytes]
"""An opcode and a payload; of a close frame only the code, which is either right or wrong."""


def answers(stream: bytes, offer: str | None = None) -> list[Answer]:
    """The frames that an echo sends back, up to a close frame if there is one.

    Args:
        stream: What a client has sent after the handshake.
        offer: The compression that was agreed on.
    """
    extensions: list[Extension] = []
    if offer is not None:
        deflate = PerMessageDeflate()
        deflate.accept(offer)
        extensions.append(deflate)
    protocol = FrameProtocol(client=False, extensions=extensions)
    protocol.receive_bytes(stream)
    sent: list[Answer] = []
    message = b""
    try:
        for frame in protocol.received_frames():
            payload = frame.payload
            if frame.opcode is Opcode.CLOSE:
                assert isinstance(payload, tuple)
                return [*sent, (CLOSE, _code(payload[0]))]
            assert not isinstance(payload, tuple)
            data = payload.encode() if isinstance(payload, str) else bytes(payload)
            if frame.opcode is Opcode.PING:
                sent.append((PONG, data))
            elif frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                message += data
                if frame.message_finished:
                    sent.append((int(frame.opcode), message))
                    message = b""
    except ParseFailed as failure:
        sent.append((CLOSE, _code(failure.code)))
    return sent


def _code(code: int) -> bytes:
    return b"" if code == CloseReason.NO_STATUS_RCVD else int(code).to_bytes(2)
