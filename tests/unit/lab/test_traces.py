"""What is recognised as left by an engine of the lab, and what is left alone."""

from pathlib import Path

from tests.lab.traces import bound_onto_itself, mounts_below, rules_naming

MOUNTINFO = """\
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 254:1 / /var/lib/docker rw,relatime - ext4 /dev/vdb rw
136 27 254:0 /srv/e2/data /srv/e2/data rw,relatime shared:6 - ext4 /dev/vda rw
50 27 254:2 / /home rw,relatime - ext4 /dev/vdc rw
137 50 254:2 /u/e3/data /home/u/e3/data rw,relatime shared:6 - ext4 /dev/vdc rw
138 27 0:5 / /srv/a\\040b/root/proc rw - proc proc rw
"""
RULES = """\
# Generated
*filter
:FORWARD DROP [0:0]
-A FORWARD -o br-0123456789ab -j DOCKER
-A FORWARD -o docker0 -m comment --comment "not br-0123456789ab" -j DOCKER
COMMIT
*nat
-A POSTROUTING -s 172.18.0.0/16 ! -o br-0123456789ab -j MASQUERADE
COMMIT
"""


def test_a_folder_bound_onto_itself() -> None:
    assert bound_onto_itself(Path("/srv/e2/data"), MOUNTINFO)
    assert bound_onto_itself(Path("/home/u/e3/data"), MOUNTINFO)


def test_a_disk_of_its_own_or_no_mount_at_all_is_left_alone() -> None:
    assert not bound_onto_itself(Path("/var/lib/docker"), MOUNTINFO)
    assert not bound_onto_itself(Path("/srv/e2"), MOUNTINFO)


def test_mounts_below_a_folder() -> None:
    assert mounts_below(Path("/srv/a b/root"), MOUNTINFO) == ["/srv/a b/root/proc"]
    assert mounts_below(Path("/srv/e"), MOUNTINFO) == []


def test_only_rules_that_name_the_bridge_are_deleted() -> None:
    deleted = [" ".join(rule) for rule in rules_naming(frozenset({"br-0123456789ab"}), RULES)]
    assert deleted == [
        "-t filter -D FORWARD -o br-0123456789ab -j DOCKER",
        "-t nat -D POSTROUTING -s 172.18.0.0/16 ! -o br-0123456789ab -j MASQUERADE",
    ]
