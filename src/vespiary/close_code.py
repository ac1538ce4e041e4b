"""The close codes of WebSocket, by name."""

from enum import IntEnum

__all__ = ["CloseCode"]


class CloseCode(IntEnum):
    """Why a WebSocket is closed (RFC 6455 section 7.4 and IANA's registry).

    Use a member wherever a close code is taken or given: `connection.close(CloseCode.GOING_AWAY)`.
    3000 to 3999 are registered by libraries and frameworks; 4000 to 4999 are free for applications,
    which define their own `IntEnum`.

    Attributes:
        NORMAL: 1000, the purpose of the connection is fulfilled.
        GOING_AWAY: 1001, the server stops, or the browser leaves the page.
        PROTOCOL_ERROR: 1002, the peer broke a rule of the protocol.
        UNSUPPORTED_DATA: 1003, the peer sent text where only binary is accepted, or the reverse.
        NO_STATUS: 1005, the close frame had no code; never sent.
        ABNORMAL: 1006, the connection ended without a close frame; never sent.
        INVALID_DATA: 1007, the text of a message is not UTF-8.
        POLICY_VIOLATION: 1008, the peer broke a rule of the application.
        MESSAGE_TOO_BIG: 1009, a message is longer than this end accepts.
        EXTENSION_REQUIRED: 1010, the server did not agree on an extension that the client needs.
        INTERNAL_ERROR: 1011, this end failed.
        SERVICE_RESTART: 1012, the server restarts; reconnect after a random delay.
        TRY_AGAIN_LATER: 1013, the server is overloaded.
        BAD_GATEWAY: 1014, a proxy got an invalid answer from the server behind it.
        TLS_FAILURE: 1015, the TLS handshake failed; never sent.
        UNAUTHORIZED: 3000, the client has to authenticate.
        FORBIDDEN: 3003, the client is not allowed to do this.
        TIMEOUT: 3008, the peer took too long.
    """

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    EXTENSION_REQUIRED = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_FAILURE = 1015
    UNAUTHORIZED = 3000
    FORBIDDEN = 3003
    TIMEOUT = 3008
