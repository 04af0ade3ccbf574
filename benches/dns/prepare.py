"""Files for benches/dns.sh: the country database in MaxMind's layout, queries, and the same zone for three servers.

    prepare.py FOLDER
"""

import csv
import ipaddress
import pathlib
import random
import struct
import sys

import maxminddb
import mmdb_writer
import netaddr

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = pathlib.Path(sys.argv[1]).resolve()

# Everything below is the same in every run.
PORTS = {"nearport": 5301, "gdnsd": 5302, "knot": 5303}
QUERIES = 200_000
# One place for each continent, and one for the rest: what a list of countries can express in all three.
PLACES = {"AS": "192.0.2.1", "EU": "192.0.2.2", "NA": "192.0.2.3", "SA": "192.0.2.4",
          "AF": "192.0.2.5", "OC": "192.0.2.6", "AN": "192.0.2.7"}


def write(name, text):
    path = WORK / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def continents():
    lines = (ROOT / "geo/countries.csv").read_text().splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["country"]: row["continent"] for row in rows}


def database():
    """geo/country.mmdb in the layout {"country": {"iso_code"}, "continent": {"code"}}. Takes a minute, once."""
    path = WORK / "nested.mmdb"
    if path.exists():
        return
    of = continents()
    writer = mmdb_writer.MMDBWriter(
        6, "GeoLite2-Country", languages=["en"], ipv4_compatible=True, description="countries, nested"
    )
    groups = {}
    with maxminddb.open_database(str(ROOT / "geo/country.mmdb")) as reader:
        for network, record in reader:
            groups.setdefault(record["country_code"], []).append(netaddr.IPNetwork(str(network)))
    for code, networks in groups.items():
        record = {"country": {"iso_code": code}, "continent": {"code": of.get(code, "EU")}}
        writer.insert_network(netaddr.IPSet(networks), record)
    fresh = path.with_suffix(".new")
    writer.to_db_file(str(fresh))
    fresh.rename(path)


def query(name, number, subnet):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = struct.pack(">HHHHHH", number & 0xFFFF, 0, 1, 0, 0, 1)
    option = b""
    if subnet is not None:
        bits = subnet.prefixlen
        octets = subnet.network_address.packed[: (bits + 7) // 8]
        option = struct.pack(">HBB", 1 if subnet.version == 4 else 2, bits, 0) + octets
        option = struct.pack(">HH", 8, len(option)) + option
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(option)) + option
    message = header + labels + b"\0" + struct.pack(">HH", 1, 1) + opt
    return struct.pack(">H", len(message)) + message


def queries():
    """Messages as TCP frames them, which is what dnsperf -B reads: with EDNS, and without or with a /24 of the client."""
    if (WORK / "subnet.bin").exists():
        return
    dice = random.Random(4)
    plain, subnet = [], []
    while len(subnet) < QUERIES:
        address = ipaddress.IPv4Address(dice.getrandbits(32))
        if address.is_global:
            network = ipaddress.ip_network((int(address) & ~0xFF, 24))
            subnet.append(query("im.bench.example", len(subnet), network))
            plain.append(query("im.bench.example", len(plain), None))
    (WORK / "plain.bin").write_bytes(b"".join(plain))
    (WORK / "subnet.bin").write_bytes(b"".join(subnet))


def nearport():
    spots = {"AS": ("SG", 1.35, 103.8), "EU": ("DE", 50.1, 8.7), "NA": ("US", 39.0, -77.5), "SA": ("BR", -23.5, -46.6),
             "AF": ("ZA", -26.2, 28.0), "OC": ("AU", -33.9, 151.2), "AN": ("AQ", -77.8, 166.7)}
    pops = []
    for continent, address in PLACES.items():
        country, lat, lon = spots[continent]
        pops.append(
            f'[[pop]]\nid = "{continent.lower()}"\nplace = "{continent}"\ncountry = "{country}"\ncontinent = "{continent}"\n'
            f'lat = {lat}\nlon = {lon}\naddresses = ["{address}"]\n'
            f'endpoints = {{ quic = "{continent.lower()}.edge.example:4433" }}\n'
        )
    write("nearport/pops.toml", "\n".join(pops))
    write("nearport/nearport.toml", f"""data = "{WORK}/nearport/data"
[api]
listen = "127.0.0.1:0"
[ops]
listen = "127.0.0.1:0"
[log]
level = "warn"
[locate]
pops = "{WORK}/nearport/pops.toml"
databases = ["{WORK}/nested.mmdb"]
[dns]
listen = ["127.0.0.1:{PORTS['nearport']}"]
zone = "bench.example"
ns = [{{ name = "ns1", addresses = ["192.0.2.53"] }}]
threads = 1
""")


ZONE = """$TTL 3600
@ IN SOA ns1 hostmaster 1 3600 600 86400 60
@ IN NS ns1
ns1 IN A 192.0.2.53
"""


def gdnsd():
    write("gdnsd/zones/bench.example", ZONE + "im 30 IN DYNA geoip!im\n")
    listed = "\n".join(f"        {one} => [{one}]" for one in PLACES)
    addresses = "\n".join(f"        {one} => {address}" for one, address in PLACES.items())
    write("gdnsd/config", f"""options => {{
  listen => 127.0.0.1:{PORTS['gdnsd']}
  udp_threads => 1
  tcp_threads => 1
  edns_client_subnet => true
  run_dir => {WORK}/gdnsd/run
  state_dir => {WORK}/gdnsd/state
}}
service_types => {{ }}
plugins => {{ geoip => {{
  maps => {{ continents => {{
    geoip2_db => {WORK}/nested.mmdb
    datacenters => [{", ".join(PLACES)}]
    map => {{
{listed}
        default => [EU]
    }}
  }} }}
  resources => {{ im => {{
    map => continents
    service_types => up
    dcmap => {{
{addresses}
    }}
  }} }}
}} }}
""")


def knot():
    write("knot/bench.example.zone", ZONE + f"im 30 IN A {PLACES['EU']}\n")
    rules = "\n".join(f'  - geo: "{one};*"\n    A: {address}' for one, address in PLACES.items())
    write("knot/geo.conf", f"im.bench.example:\n{rules}\n")
    write("knot/knot.conf", f"""server:
  listen: 127.0.0.1@{PORTS['knot']}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  rundir: "{WORK}/knot/run"
  edns-client-subnet: on
database:
  storage: "{WORK}/knot/db"
log:
  - target: stderr
    any: warning
mod-geoip:
  - id: im
    config-file: "{WORK}/knot/geo.conf"
    ttl: 30
    mode: geodb
    geodb-file: "{WORK}/nested.mmdb"
    geodb-key: [continent/code, country/iso_code]
zone:
  - domain: bench.example
    storage: "{WORK}/knot"
    file: bench.example.zone
    zonefile-load: whole
    journal-content: none
    module: mod-geoip/im
""")


database()
queries()
nearport()
gdnsd()
knot()
for folder in ("gdnsd/run", "gdnsd/state", "knot/run", "knot/db", "nearport/data"):
    (WORK / folder).mkdir(parents=True, exist_ok=True)
