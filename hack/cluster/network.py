"""The host's side of the pod network: an address that pods reach, forwarding, masquerading; and taking all of it back.

Pods get addresses of a bridge, so host and pods reach each other. No iptables rule is written: the masquerade has an
nftables table of its own, which goes with one command. The bridge does not enforce NetworkPolicy.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

from hack.cluster import notes
from hack.cluster.commands import output, run
from hack.cluster.control_plane import SERVICE_CIDR
from hack.cluster.errors import ClusterError

ADDRESS = "10.200.0.1"  # extra address on `lo` for the API server, the kubelet, DNS and S3
POD_CIDR = "10.201.0.0/24"
BRIDGE = "modelgarden0"
KUBELET_PORT = 10250  # kept from pods and other machines, since the kubelet asks nobody who they are
TABLE = "modelgarden"
SYSCTLS = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}
KUBE_PROXY_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))


def set_up(folder: Path) -> None:
    """Prepare the host. What it changed is noted in `folder`. Raises ClusterError where the addresses are taken."""
    _check_addresses()
    if not Path("/proc/sys/net/bridge").exists():
        run("modprobe", "br_netfilter")
    _save_sysctls(folder / "sysctls.json")
    for name, value in SYSCTLS.items():
        _sysctl(name).write_text(value)
    run("ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo")
    run("nft", "-f", "-", stdin=_rules())


def remove(folder: Path) -> None:
    """Take back what `set_up`, the CNI plugins and kube-proxy did to the host."""
    run("ip", "link", "delete", BRIDGE, check=False)
    run("ip", "address", "delete", f"{ADDRESS}/32", "dev", "lo", check=False)
    for family, table in ((("ip", TABLE)), *KUBE_PROXY_TABLES):
        run("nft", "delete", "table", family, table, check=False)
    for name, value in (notes.read(folder / "sysctls.json") or {}).items():
        _sysctl(name).write_text(value)


def write_cni_configuration(folder: Path, leases: Path) -> None:
    """Write the configuration of the pod network for containerd."""
    ipam = {
        "type": "host-local",
        "dataDir": str(leases),
        "ranges": [[{"subnet": POD_CIDR}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": ipam,
    }
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {"cniVersion": "0.4.0", "name": TABLE, "plugins": [bridge]}
    (folder / "10-modelgarden.conflist").write_text(json.dumps(configuration, indent=2))


def _rules() -> str:
    return f"""
        table ip {TABLE}
        delete table ip {TABLE}
        table ip {TABLE} {{
            chain postrouting {{
                type nat hook postrouting priority srcnat;
                ip saddr {POD_CIDR} ip daddr != {{ {POD_CIDR}, {ADDRESS}, {SERVICE_CIDR} }} masquerade
            }}
            chain input {{
                type filter hook input priority filter;
                iifname != "lo" ip daddr {ADDRESS} tcp dport {KUBELET_PORT} drop
            }}
        }}
    """


def _check_addresses() -> None:
    wanted = [ipaddress.ip_network(cidr) for cidr in (f"{ADDRESS}/32", POD_CIDR, SERVICE_CIDR)]
    for route in json.loads(output("ip", "-json", "-4", "route", "show", "table", "main")):
        if route["dst"] == "default" or route.get("dev") == BRIDGE:
            continue
        taken = ipaddress.ip_network(route["dst"])
        for cidr in wanted:
            if cidr.overlaps(taken):
                raise ClusterError(
                    f"the cluster uses {cidr}, which this machine routes to {route.get('dev')} ({taken}):"
                    f" change it in {__file__}"
                )


def _save_sysctls(file: Path) -> None:
    if notes.read(file) is None:
        notes.write(file, {name: _sysctl(name).read_text().strip() for name in SYSCTLS})


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name
