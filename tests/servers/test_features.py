"""What a server can do is asked of it, by any client, and leaves nothing."""

from __future__ import annotations

import pytest

from streamlab.errors import PermissionRefusedError, UnsupportedError
from streamlab.servers import ProcessServer, Server, connect
from streamlab.servers.features import FEATURES, probe

TO_7_0 = {"streams", "autoclaim", "deleted_ids", "lag"}
TO_7_2 = TO_7_0 | {"waitaof"}
TO_8_2 = TO_7_2 | {"ackdel", "acked_trim"}
TO_8_6 = TO_8_2 | {"claim", "idmp"}
EXPECTED = {"redis 7.0": TO_7_0, "valkey 9.1": TO_7_2, "redis 8.2": TO_8_2, "redis 8.6": TO_8_6}


def test_each_server_has_what_its_documentation_says(server: Server, keys: str) -> None:
    known = f"{server.flavour} {'.'.join(server.version.split('.')[:2])}"
    if known not in EXPECTED:
        pytest.skip(f"nobody wrote down what {known} has")
    assert server.features == EXPECTED[known]
    assert server.features <= FEATURES.keys()
    for protocol in (2, 3):
        for decode in (True, False):
            with server.client(protocol=protocol, decode_responses=decode) as client:
                before = client.dbsize()
                assert probe(client, keys + "probe") == server.features
                assert client.dbsize() == before


def test_a_server_that_is_too_old_is_told_from_one_that_refuses_this_user(any_server: Server) -> None:
    for command, lacks in (("XLEN", "streams"), ("XAUTOCLAIM", "XAUTOCLAIM")):
        wanted = rf"needs Redis 6\.2 or newer or any Valkey.* lacks {lacks}: upgrade"
        with pytest.raises(UnsupportedError, match=wanted):
            ProcessServer(settings={f"rename-command {command}": ""})
    password = f"+{any_server.url.split(':')[2].split('@')[0]}"
    with any_server.client() as client:
        for name, commands in (("probe-none", ["+ping"]), ("probe-few", ["+@all", "-xackdel", "-xadd"])):
            client.acl_setuser(name, enabled=True, passwords=[password], keys=["*"], commands=commands)
        try:
            with (
                connect(any_server.url.replace("//:", "//probe-none:")) as refused,
                pytest.raises(PermissionRefusedError, match=r"may not run XLEN .*ACL SETUSER"),
            ):
                probe(refused, any_server.prefix + "p")
            with connect(any_server.url.replace("//:", "//probe-few:")) as limited:
                features = probe(limited, any_server.prefix + "p")
            assert {"streams", "autoclaim", "lag"} <= features
            assert not features & {"ackdel", "acked_trim", "idmp"}  # what the user may not do is not there
        finally:
            client.acl_deluser("probe-none", "probe-few")
