//! What `trackport check` must say of a machine's addresses, seen on one whose network is made here.

use crate::booted::Booted;
use crate::harness::daemon::{BINARY, text};
use crate::root::Root;

const CONF: &str = "\
[database]
url = \"postgresql://198.51.100.9/trackport\"
[timeouts]
tcp = \"1 s\"
[[port]]
listen = 5027
[[port]]
listen = \"5100-5102\"
[[port]]
listen = \"127.0.0.1:5300\"
";

#[test]
fn check_knows_every_address_and_the_way_out() {
    let Some(root) = Root::new() else {
        return;
    };
    root.install(BINARY, "/usr/bin/trackport", 0o755);
    root.write("/etc/trackport/trackport.toml", CONF);
    let machine = Booted::boot(root);
    let check = || text(&machine.run(&["trackport", "check"]).stdout);
    let told = check();
    for words in [
        "listens on 127.0.0.1 (lo), for this machine: 5027, 5100-5102, 5300",
        "only this machine reaches: 5027, 5100-5102, 5300",
        "outgoing: there is no default route",
        "outgoing: to the database 198.51.100.9:5432: no way to 198.51.100.9",
    ] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
    machine.shell(
        "ip link add outside0 type veth peer name outside1
         ip link set outside0 up
         ip link set outside1 up
         ip address add 198.51.100.7/24 dev outside0
         ip -6 address add 2001:db8::7/64 dev outside0 nodad
         ip route add default via 198.51.100.1",
    );
    let told = check();
    for words in [
        "listens on 198.51.100.7 (outside0): 5027, 5100-5102\n",
        "listens on 2001:db8::7 (outside0): 5027, 5100-5102\n",
        "only this machine reaches: 5300\n",
        "firewall-cmd --permanent --add-port=5027/tcp --add-port=5100-5102/tcp && firewall-cmd --reload",
        "--get-zone-of-interface=outside0",
        "outgoing: to the database 198.51.100.9:5432: 198.51.100.9 sees 198.51.100.7\n",
        "outgoing: to the internet from 198.51.100.7; put this",
    ] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
}
