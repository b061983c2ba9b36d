"""The workloads that Debian systems are made for in tests, set up as their manuals say.

Each can be reached from other machines, as that of a server has to be.
"""

from __future__ import annotations

from tests.images.recipes.debian_systems import System

POSTGRESQL = System(
    "postgresql",
    ("postgresql",),
    {},
    # Ended as a machine that is switched off ends it: its data are in its log and nowhere else.
    finish="""
        version=$(ls /etc/postgresql)
        cd "/etc/postgresql/$version/main"
        echo "listen_addresses = '*'" > conf.d/network.conf
        echo 'port = 5433' >> conf.d/network.conf
        echo 'host all all all scram-sha-256' >> pg_hba.conf
        pg_ctlcluster "$version" main start
        runuser -u postgres -- psql -p 5433 \
            -c "CREATE ROLE shop LOGIN PASSWORD 'beans'" \
            -c 'CREATE DATABASE shop OWNER shop' \
            -c '\\connect shop' \
            -c "CREATE TABLE goods AS SELECT 'forty-two beans' AS name" \
            -c 'ALTER TABLE goods OWNER TO shop'
        pg_ctlcluster "$version" main stop -m immediate
    """,
)

MARIADB = System(
    "mariadb",
    ("mariadb-server",),
    {
        "etc/mysql/mariadb.conf.d/90-network.cnf": """\
[mysqld]
bind-address = 0.0.0.0
port = 3307
""",
    },
    finish="""
        mkdir -p /run/mysqld
        chown mysql: /run/mysqld
        mariadbd --user=mysql --bootstrap <<'END'
FLUSH PRIVILEGES;
CREATE DATABASE shop;
CREATE TABLE shop.goods AS SELECT 'forty-two beans' AS name;
CREATE USER shop@'%' IDENTIFIED BY 'beans';
GRANT SELECT ON shop.* TO shop@'%';
END
    """,
)

REDIS = System(
    "redis",
    ("redis-server",),
    {},
    finish=r"""
        sed -i -e 's/^bind .*/bind 0.0.0.0 -::/' -e 's/^port .*/port 6380/' \
            -e 's/^protected-mode .*/protected-mode no/' /etc/redis/redis.conf
        printf 'SET greeting "forty-two beans"\n' | runuser -u redis -- sh -c '
            redis-server --port 0 --unixsocket /tmp/redis.sock --dir /var/lib/redis --daemonize yes
            until redis-cli -s /tmp/redis.sock PING; do sleep 0.1; done
            redis-cli -s /tmp/redis.sock
            redis-cli -s /tmp/redis.sock SHUTDOWN SAVE'
    """,
)

APACHE_WITH_PHP = System(
    "apache-php",
    ("apache2", "libapache2-mod-php"),
    {
        "srv/shop/index.php": "<?php echo 6 * 7, ' beans by ', PHP_SAPI, \"\\n\";\n",
        "etc/apache2/sites-available/shop.conf": """\
<VirtualHost *:8081>
    DocumentRoot /srv/shop
    <Directory /srv/shop>
        Require all granted
    </Directory>
    CustomLog ${APACHE_LOG_DIR}/shop.log combined
</VirtualHost>
""",
        "etc/apache2/ports.conf": """\
Listen 8081
<IfModule ssl_module>
    Listen 443
</IfModule>
""",
    },
    finish="a2dissite -q 000-default; a2ensite -q shop",
)

TOMCAT = System(
    "tomcat",
    ("tomcat10",),
    {
        "var/lib/tomcat10/webapps/shop/index.jsp": "<%= 6 * 7 %> beans\n",
        "var/lib/tomcat10/webapps/shop/WEB-INF/web.xml": """\
<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="5.0">
  <display-name>Shop</display-name>
</web-app>
""",
    },
    finish="""sed -i 's/Connector port="8080"/Connector port="8181"/' /etc/tomcat10/server.xml""",
)

_SHOP_USER = "useradd --system --home-dir /opt/shop --shell /usr/sbin/nologin shop"

PYTHON_APPLICATION = System(
    "python",
    ("python3", "gunicorn"),
    {
        "opt/shop/shop.py": """\
import os
import pathlib


def application(environ, start_response):
    state = pathlib.Path(os.environ["STATE_DIRECTORY"], "visited")
    state.touch()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.environ['GREETING']} for {os.getuid()}\\n".encode()]
""",
        "opt/shop/venv/bin/gunicorn": """\
#!/opt/shop/venv/bin/python3
from gunicorn.app.wsgiapp import run

run()
""",
        "etc/shop/shop.env": """\
# how the shop is reached
ADDRESS=0.0.0.0:8082
GREETING="forty-two beans"
""",
        "etc/systemd/system/shop.service": """\
[Unit]
Description=The shop
After=network-online.target

[Service]
User=shop
EnvironmentFile=/etc/shop/shop.env
WorkingDirectory=/opt/shop
StateDirectory=shop
ExecStart=/opt/shop/venv/bin/gunicorn --workers 2 --bind ${ADDRESS} shop:application
Restart=on-failure

[Install]
WantedBy=multi-user.target
""",
    },
    finish=f"""
        {_SHOP_USER}
        python3 -m venv --without-pip --system-site-packages /opt/shop/venv
        chmod 755 /opt/shop/venv/bin/gunicorn
        systemctl enable shop
    """,
)

NODE_APPLICATION = System(
    "node",
    ("nodejs",),
    {
        "srv/notes/package.json": '{"name": "notes", "version": "1.2.0", "main": "server.js"}\n',
        "srv/notes/server.js": """\
const http = require('http');
http.createServer((request, response) => {
  response.setHeader('Connection', 'close');
  response.end(`${process.env.GREETING} for ${process.getuid()} in ${process.cwd()}\\n`);
}).listen(process.env.PORT);
""",
        "etc/default/notes": "PORT=8083\nGREETING='forty-two notes'\n",
        "etc/systemd/system/notes.service": """\
[Service]
User=notes
Group=notes
EnvironmentFile=-/etc/default/notes
WorkingDirectory=/srv/notes
ExecStart=/usr/bin/node server.js

[Install]
WantedBy=multi-user.target
""",
    },
    finish="""
        useradd --system --home-dir /srv/notes --shell /usr/sbin/nologin notes
        systemctl enable notes
    """,
)
