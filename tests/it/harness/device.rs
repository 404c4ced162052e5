//! A tracker as the daemon sees it: it connects, logs in, sends packets and waits for answers, never without a deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use trackport::imei::Imei;
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::{self, IoSpec, RecordSpec};

use super::secs;

/// How long an answer may take where nothing is wrong.
pub const ANSWER: Duration = secs(10);

/// 2026-01-01 00:00:00 UTC, in milliseconds.
pub const TIME_MS: u64 = 1_767_225_600_000;

/// What came back within the time that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All bytes that were waited for.
    Bytes(Vec<u8>),
    /// The other side closed, after so many bytes.
    Closed(Vec<u8>),
    /// Nothing more came, after so many bytes.
    Silence(Vec<u8>),
}

/// One connection.
pub struct Device {
    stream: TcpStream,
}

impl Device {
    /// Connects to a port of this machine.
    #[track_caller]
    pub fn connect(port: u16) -> Device {
        Device::try_connect(port).expect("a connection")
    }

    /// Connects, if somebody listens.
    pub fn try_connect(port: u16) -> std::io::Result<Device> {
        Device::try_connect_at(([127, 0, 0, 1], port).into())
    }

    /// Connects to wherever somebody listens.
    pub fn try_connect_at(address: SocketAddr) -> std::io::Result<Device> {
        let stream = TcpStream::connect_timeout(&address, ANSWER)?;
        stream.set_nodelay(true)?;
        // A daemon that does not read must not hold a test for ever.
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Device { stream })
    }

    /// Connects from another address of this machine than 127.0.0.1.
    #[track_caller]
    pub fn connect_from(address: [u8; 4], port: u16) -> Device {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let from: SocketAddr = (address, 0).into();
        socket.bind(&from.into()).expect("an address of 127/8");
        Device::over(socket, port)
    }

    /// Connects with room for so many bytes of what the daemon says, or the least there is.
    #[track_caller]
    pub fn connect_with_window(bytes: usize, port: u16) -> Device {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a socket");
        Device::over(socket, port)
    }

    #[track_caller]
    fn over(socket: Socket, port: u16) -> Device {
        let to: SocketAddr = ([127, 0, 0, 1], port).into();
        socket
            .connect_timeout(&to.into(), ANSWER)
            .expect("a connection");
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).expect("a socket");
        stream
            .set_write_timeout(Some(ANSWER))
            .expect("a time-out above zero");
        Device { stream }
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Connects and logs in, which must work.
    #[track_caller]
    pub fn login(port: u16, imei: Imei) -> Device {
        let mut device = Device::connect(port);
        device.send(&encode::login(imei));
        assert_eq!(
            device.answer(1, ANSWER),
            Answer::Bytes(vec![1]),
            "login of {imei}"
        );
        device
    }

    /// Connects and logs in, if that works.
    pub fn try_login(port: u16, imei: Imei) -> Option<Device> {
        Device::try_login_at(([127, 0, 0, 1], port).into(), imei)
    }

    /// Connects to another machine and logs in, if that works.
    pub fn try_login_at(address: SocketAddr, imei: Imei) -> Option<Device> {
        let mut device = Device::try_connect_at(address).ok()?;
        device.try_send(&encode::login(imei)).ok()?;
        (device.answer(1, ANSWER) == Answer::Bytes(vec![1])).then_some(device)
    }

    /// The address that the daemon sees.
    pub fn address(&self) -> String {
        self.stream.local_addr().expect("an address").to_string()
    }

    /// Sends bytes in one write.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the daemon takes what is sent");
    }

    /// Sends bytes, if the other side still takes them.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    #[track_caller]
    pub fn close_writing(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("a connection that is open");
    }

    /// What went wrong with the connection since the last call: a reset shows here even behind an orderly end.
    pub fn error(&self) -> Option<ErrorKind> {
        let error = self
            .stream
            .take_error()
            .expect("a socket that can be asked");
        error.map(|error| error.kind())
    }

    /// Waits for `n_bytes` bytes.
    pub fn answer(&mut self, n_bytes: usize, within: Duration) -> Answer {
        let until = Instant::now() + within;
        let mut bytes = Vec::new();
        let mut buffer = [0; 256];
        while bytes.len() < n_bytes {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Answer::Silence(bytes);
            }
            self.stream
                .set_read_timeout(Some(left))
                .expect("a time-out above zero");
            let wanted = (n_bytes - bytes.len()).min(buffer.len());
            match self.stream.read(&mut buffer[..wanted]) {
                Ok(0) => return Answer::Closed(bytes),
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Answer::Silence(bytes);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Answer::Closed(bytes),
            }
        }
        Answer::Bytes(bytes)
    }

    /// The count in the next ack, if one comes.
    pub fn ack(&mut self, within: Duration) -> Option<u32> {
        match self.answer(4, within) {
            Answer::Bytes(bytes) => Some(u32::from_be_bytes(bytes.try_into().ok()?)),
            _ => None,
        }
    }

    /// Sends a packet that must be acked with its own count.
    #[track_caller]
    pub fn deliver(&mut self, packet: &[u8]) {
        self.send(packet);
        let answer = self.answer(4, ANSWER);
        let count = packet[9];
        assert_eq!(
            answer,
            Answer::Bytes(vec![0, 0, 0, count]),
            "ack of a packet"
        );
    }

    /// Nothing may come, and the connection must stay.
    #[track_caller]
    pub fn expect_silence(&mut self, during: Duration) {
        assert_eq!(self.answer(1, during), Answer::Silence(vec![]));
    }

    /// The daemon must close, without saying anything before.
    #[track_caller]
    pub fn expect_closed(&mut self, within: Duration) {
        assert_eq!(self.answer(1, within), Answer::Closed(vec![]));
    }

    /// The daemon must send these bytes and then close.
    #[track_caller]
    pub fn expect_last(&mut self, bytes: &[u8], within: Duration) {
        assert_eq!(
            self.answer(bytes.len() + 1, within),
            Answer::Closed(bytes.to_vec())
        );
    }
}

/// A record at `TIME_MS` plus so many seconds, with a position and some IO elements.
pub fn record(second: u64) -> RecordSpec {
    RecordSpec {
        time_ms: TIME_MS + second * 1000,
        priority: 1,
        longitude: 252_797_340,
        latitude: 546_872_100,
        altitude_m: 112,
        angle_deg: 271,
        satellites: 9,
        speed_kmh: 54,
        event_id: 0,
        generation: None,
        io: vec![
            (239, IoSpec::Fixed { width: 1, raw: 1 }),
            (21, IoSpec::Fixed { width: 1, raw: 4 }),
            (
                66,
                IoSpec::Fixed {
                    width: 2,
                    raw: 12_600,
                },
            ),
            (
                16,
                IoSpec::Fixed {
                    width: 4,
                    raw: 1_000 + second,
                },
            ),
        ],
    }
}

/// A codec 8 packet of `n` records, one a second from `second` on.
pub fn packet(second: u64, n: u64) -> Vec<u8> {
    encode(
        Codec::Codec8,
        &(second..second + n).map(record).collect::<Vec<_>>(),
    )
}

/// A packet of these records.
pub fn encode(codec: Codec, records: &[RecordSpec]) -> Vec<u8> {
    encode::packet(codec, records).expect("the codec can carry it")
}
