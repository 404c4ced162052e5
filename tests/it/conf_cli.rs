//! probe
use crate::harness::daemon::{Setup,text};
use crate::harness::device::{packet,Device};
use crate::harness::{free_port, imei, ms, postgres as pg};
#[test]
fn probe() {
    let (database, _c) = pg::shared().migrated();
    let port = free_port();
    let d = Setup::new(&database.url).known_only().port(port).start();
    let f = d.folder().file("fleet.csv");
    std::fs::write(&f, format!("imei,name,model\n{},Van 1,FMB120\n{},\"Van, 2\",\n", imei(1), imei(2))).unwrap();
    let f=f.to_str().unwrap().to_owned();
    let a1=imei(1).to_string(); let a5=imei(5).to_string();
    let cap = d.folder().file("cap.hex");
    std::fs::write(&cap, trackport::protocol::hex::encode(&packet(0,2))).unwrap();
    let cap=cap.to_str().unwrap().to_owned();
    let to=format!("127.0.0.1:{port}");
    let acked = d.folder().file("acked").to_str().unwrap().to_owned();
    for args in [&["check"][..], &["device","import",&f,"--dry-run"], &["device","import",&f], &["device","export"], &["device","add",&a5,"--name","X"], &["device","list"], &["device","list","--json"], &["device","show",&a1], &["device","set",&a1,"--note","n"], &["device","rename",&a1,"Z"], &["device","show",&a1,"--json"],
        &["device","remove",&a5], &["device","refuse",&a5], &["device","accept",&a5],
        &["status"], &["port","list"],&["port","list","--json"], &["session","list"], &["session","list","--json"],&["session","close",&a1],&["port","restart","1"],
        &["send","--imei",&a1,"--to",&to,&cap], &["decode",&cap], &["device","list","--state","accepted"], &["device","show", "350000000000999"], &["migrate"]] {
        let o=d.command(args);
        println!("$ {args:?} -> {:?}\n{}{}", o.status.code(), text(&o.stdout), text(&o.stderr));
        if args[0]=="device" && args[1]=="import" { std::thread::sleep(ms(600)); }
        if args==["status"] { std::mem::forget(Device::login(port, imei(1))); }
    }
    d.edit_conf(|t| t.replace("\"known\"","\"any\"")); d.signal("HUP"); std::thread::sleep(ms(300));
    let o=d.command(&["simulate","--to",&to,"--devices","3","--packets","2","--records","4","--acked",&acked]);
    println!("sim {:?}\n{}{}", o.status.code(), text(&o.stdout), text(&o.stderr));
    println!("{}", std::fs::read_to_string(&acked).unwrap());
    let o=d.command(&["status","--json"]);
    println!("{}", text(&o.stdout));
    panic!("end");
}
