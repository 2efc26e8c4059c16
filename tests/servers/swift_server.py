#!/usr/bin/python3
"""OpenStack Swift as one process: swift_server.py DIR PORT ACCOUNT_PORT CONTAINER_PORT OBJECT_PORT

The proxy with its S3 layer at PORT and, behind it and in this process too, one each of the account,
container and object servers. One replica, in plain files under DIR,
which must be on a file system with extended attributes of users. This is Debian's own code, only
brought up in another way than by four programs with several workers each: in one second, and as one
process to kill or to stop."""
import os
import sys

where, port, *behind = os.path.abspath(sys.argv[1]), *map(int, sys.argv[2:6])

probe = os.path.join(where, "probe")
with open(probe, "w"):
    pass
try:
    os.setxattr(probe, "user.probe", b"1")
except OSError as error:
    sys.exit("swift: %s: no extended attributes there: %s" % (where, error))
os.remove(probe)


def write(name, text):
    with open(os.path.join(where, name), "w") as out:
        out.write(text)


write("swift.conf", """
[swift-hash]
swift_hash_path_suffix = wp
[storage-policy:0]
name = one
default = yes
""")
os.environ["SWIFT_CONF_FILE"] = os.path.join(where, "swift.conf")

import swift.common.utils as utils  # noqa: E402

utils.SWIFT_CONF_FILE = os.path.join(where, "swift.conf")
utils.eventlet_monkey_patch()
utils.validate_configuration()

import eventlet  # noqa: E402
import eventlet.wsgi  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import SwiftHttpProtocol, loadapp  # noqa: E402

COMMON = """
[DEFAULT]
swift_dir = %s
devices = %s/devices
mount_check = false
bind_ip = 127.0.0.1
log_level = ERROR
"""
PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
storage_domain = s3.localhost
dns_compliant_bucket_names = yes
# Nobody answers there, so nothing is cached, and what was stored is seen at once.
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
set log_level = CRITICAL
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
""" + "".join("[filter:%s]\nuse = egg:swift#%s\n" % (name, name) for name in (
    "catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "slo", "dlo", "symlink"))
BACKEND = "[pipeline:main]\npipeline = %s-server\n[app:%s-server]\nuse = egg:swift#%s\n"

os.makedirs(os.path.join(where, "devices", "d1"), exist_ok=True)
apps = []
for kind, at in zip(("account", "container", "object"), behind):
    ring = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    ring.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1",
                  "port": at, "device": "d1"})
    ring.rebalance()
    ring.get_ring().save(os.path.join(where, kind + ".ring.gz"))
    write(kind + ".conf", COMMON % (where, where) + BACKEND % (kind, kind, kind))
    apps.append((kind, at))
write("proxy.conf", COMMON % (where, where) + PROXY)
apps.append(("proxy", port))

utils.get_logger.console_handler4logger = {}  # log on standard error too: there may be no syslog
servers = []
for kind, at in apps:
    socket = eventlet.listen(("127.0.0.1", at), backlog=256)
    app = loadapp(os.path.join(where, kind + ".conf"), global_conf={"log_name": kind})
    servers.append(eventlet.spawn(
        eventlet.wsgi.server, socket, app, utils.NullLogger(), protocol=SwiftHttpProtocol,
        socket_timeout=60, capitalize_response_headers=False,
        custom_pool=eventlet.GreenPool(1024)))
print("up", flush=True)
for server in servers:
    server.wait()
