"""A Debian system with two workloads, of which one is started after the other."""

from __future__ import annotations

from tests.images.recipes.debian_systems import System
from tests.images.recipes.debian_workloads import REDIS

NGINX_AND_REDIS = System(
    "nginx-redis",
    ("nginx-light", *REDIS.packages, "curl"),
    {
        "etc/systemd/system/nginx.service.d/order.conf": """\
[Unit]
Wants=redis-server.service
After=redis-server.service
""",
        "etc/nginx/sites-available/default": """\
server {
    listen 8084;
    location / {
        return 200 "forty-two pages\\n";
    }
}
""",
    },
    finish=REDIS.finish,
)
