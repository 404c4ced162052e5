//! Devices as a spreadsheet writes them: CSV in both directions.
//!
//! Knows no SQL. Reads what spreadsheets make of a file: a byte order mark, semicolons or tabs, blanks around
//! values, empty lines. Invariant: rows come out only when every line is right; otherwise every mistake does.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;

use csv::{ByteRecord, ReaderBuilder, WriterBuilder};

use postgres::GenericClient;

use crate::imei::Imei;
use crate::models;
use crate::store::StoreError;
use crate::store::device::{Device, DeviceChange, DeviceState, Imported};
use crate::store::sheet::{self as store, Entry, SheetError};

/// The columns in the order in which they are written.
const COLUMNS: [&str; 11] = [
    "imei",
    "name",
    "model",
    "firmware",
    "phone",
    "iccid",
    "note",
    "state",
    "attributes",
    "asset",
    "group",
];

/// Names of the asset and the group in which devices are, by the device's number.
pub type Places = HashMap<i32, (String, String)>;

/// One line that is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where it begins in the file, from 1.
    pub line: u64,
    /// The device.
    pub imei: Imei,
    /// What is to be known of it.
    pub change: DeviceChange,
    /// The asset in which it shall be; `None`: where it is.
    pub asset: Option<String>,
    /// The group in which its asset shall be; `None`: where it is.
    pub group: Option<String>,
}

/// What is wrong where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// In which line of the file, from 1.
    pub line: u64,
    /// In which column, where it is one cell's.
    pub column: Option<String>,
    /// What is wrong and what would be right.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake { line, column, text } = self;
        match column {
            Some(column) => write!(f, "{line}: column {column}: {text}"),
            None => write!(f, "{line}: {text}"),
        }
    }
}

fn mistake(line: u64, column: Option<&str>, text: impl Into<String>) -> Mistake {
    Mistake {
        line,
        column: column.map(str::to_owned),
        text: text.into(),
    }
}

/// Reads a sheet.
///
/// # Errors
/// Every mistake, by line; never an empty list.
pub fn read(bytes: &[u8]) -> Result<Vec<Row>, Vec<Mistake>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter(bytes))
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let mut records = reader.byte_records().filter(|record| match record {
        Ok(record) => record.iter().any(|cell| !cell.is_empty()),
        Err(_) => true,
    });
    let header = match records.next() {
        None => {
            let text = format!(
                "the file is empty; its first line names columns: {}",
                COLUMNS.join(",")
            );
            return Err(vec![mistake(1, None, text)]);
        }
        Some(Err(error)) => return Err(vec![mistake(1, None, error.to_string())]),
        Some(Ok(header)) => header,
    };
    let mut lines = Lines {
        bytes,
        at: 0,
        line: 1,
    };
    let columns = columns(&header, lines.line(header.position()))?;
    let mut rows = Vec::new();
    let mut mistakes = Vec::new();
    let mut seen = HashMap::new();
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = lines.line(error.position());
                mistakes.push(mistake(line, None, error.to_string()));
                continue;
            }
        };
        match row(&record, lines.line(record.position()), &columns, &mut seen) {
            Ok(row) => rows.push(row),
            Err(more) => mistakes.extend(more),
        }
    }
    if mistakes.is_empty() {
        Ok(rows)
    } else {
        Err(mistakes)
    }
}

/// What stands between the cells: whatever the first line has most of.
fn delimiter(bytes: &[u8]) -> u8 {
    let first = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let count = |one: u8| first.iter().filter(|byte| **byte == one).count();
    // The last of equals wins, and a comma is what is meant where none is there.
    [b'\t', b';', b',']
        .into_iter()
        .max_by_key(|one| count(*one))
        .unwrap_or(b',')
}

/// The lines of a sheet as an editor counts them. The CSV reader's own count stands before the line end of the last record
/// and before empty lines.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line in which a record begins that the reader found at this position; positions only grow.
    fn line(&mut self, position: Option<&csv::Position>) -> u64 {
        let from = position
            .and_then(|position| usize::try_from(position.byte()).ok())
            .unwrap_or(self.at);
        while let Some(byte) = self.bytes.get(self.at) {
            if self.at >= from && !byte.is_ascii_whitespace() {
                break;
            }
            self.line += u64::from(*byte == b'\n');
            self.at += 1;
        }
        self.line
    }
}

/// The columns that the header names, as in `COLUMNS`.
fn columns(header: &ByteRecord, line: u64) -> Result<Vec<&'static str>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut columns = Vec::new();
    for cell in header {
        let name = String::from_utf8_lossy(cell).to_lowercase();
        match COLUMNS.iter().find(|column| **column == name) {
            None => {
                let text = format!("there is no such column; known are {}", COLUMNS.join(", "));
                mistakes.push(mistake(line, Some(&format!("{name:?}")), text));
            }
            Some(column) if columns.contains(column) => {
                mistakes.push(mistake(line, Some(column), "it stands in the header twice"));
            }
            Some(column) => columns.push(*column),
        }
    }
    if !columns.contains(&"imei") {
        let text = format!(
            "the first line must name the columns, imei among them: {}",
            COLUMNS.join(",")
        );
        mistakes.push(mistake(line, None, text));
    }
    if mistakes.is_empty() {
        Ok(columns)
    } else {
        Err(mistakes)
    }
}

fn row(
    record: &ByteRecord,
    line: u64,
    columns: &[&'static str],
    seen: &mut HashMap<Imei, u64>,
) -> Result<Row, Vec<Mistake>> {
    if record.len() != columns.len() {
        let text = format!(
            "{} values for {} columns; a value with a separator in it needs quotes",
            record.len(),
            columns.len()
        );
        return Err(vec![mistake(line, None, text)]);
    }
    let mut mistakes = Vec::new();
    let mut change = DeviceChange::default();
    let mut imei = None;
    let (mut asset, mut group) = (None, None);
    for (column, cell) in columns.iter().zip(record) {
        let Ok(cell) = str::from_utf8(cell) else {
            let text = "this is not UTF-8; save the file as \"CSV UTF-8\"";
            mistakes.push(mistake(line, Some(column), text));
            continue;
        };
        let text = match *column {
            "imei" => imei_of(cell).map(|read| imei = Some(read)),
            "state" => state_of(cell).map(|state| change.state = state),
            "attributes" => attributes_of(cell).map(|read| change.attributes = read),
            // An empty cell leaves the device where it is: nothing is taken out of a vehicle by a cell that somebody forgot.
            "asset" => text_of(cell).map(|cell| asset = (!cell.is_empty()).then_some(cell)),
            "group" => text_of(cell).map(|cell| group = (!cell.is_empty()).then_some(cell)),
            column => text_of(cell).map(|cell| take(&mut change, column, cell)),
        };
        if let Err(text) = text {
            mistakes.push(mistake(line, Some(column), text));
        }
    }
    if let Some(imei) = imei
        && let Some(first) = seen.insert(imei, line)
    {
        let text = format!("{imei} stands in line {first} already; keep one of the two");
        mistakes.push(mistake(line, Some("imei"), text));
    }
    match imei {
        Some(imei) if mistakes.is_empty() => Ok(Row {
            line,
            imei,
            change,
            asset,
            group,
        }),
        _ => Err(mistakes),
    }
}

fn take(change: &mut DeviceChange, column: &str, cell: String) {
    let field = match column {
        "name" => &mut change.name,
        "model" => &mut change.model,
        "firmware" => &mut change.firmware,
        "phone" => &mut change.phone,
        "iccid" => &mut change.iccid,
        _ => &mut change.note,
    };
    *field = Some(match column {
        "model" => models::known(&cell).map_or(cell, str::to_owned),
        _ => cell,
    });
}

fn imei_of(cell: &str) -> Result<Imei, String> {
    let mangled = cell.contains(['E', 'e', '.', ','])
        && cell
            .chars()
            .all(|one| one.is_ascii_digit() || "Ee.,+".contains(one));
    if mangled {
        return Err(format!(
            "a spreadsheet has turned the IMEI into the number {cell}, digits are lost; make the column Text, enter the IMEIs again, save again"
        ));
    }
    cell.parse::<Imei>().map_err(|error| {
        let zero = match cell.len() {
            14 if cell.bytes().all(|byte| byte.is_ascii_digit()) => {
                "; has a spreadsheet dropped a zero in front?"
            }
            _ => "",
        };
        format!("{cell:?}: {error}{zero}")
    })
}

fn state_of(cell: &str) -> Result<Option<DeviceState>, String> {
    if cell.is_empty() {
        return Ok(None);
    }
    cell.to_lowercase()
        .parse()
        .map(Some)
        .map_err(|_| format!("{cell:?}: a state is accepted, refused, pending or removed"))
}

fn attributes_of(cell: &str) -> Result<Option<serde_json::Value>, String> {
    if cell.is_empty() {
        return Ok(None);
    }
    match serde_json::from_str(cell) {
        Ok(serde_json::Value::Object(object)) => Ok(Some(object.into())),
        Ok(_) => Err("a JSON object is needed, for example {\"depot\": \"north\"}".to_owned()),
        Err(error) => Err(format!("this is no JSON object: {error}")),
    }
}

fn text_of(cell: &str) -> Result<String, String> {
    if cell.contains('\0') {
        return Err("a zero byte is no text".to_owned());
    }
    Ok(cell.to_owned())
}

/// Writes devices in the form that [`read`] reads.
///
/// # Errors
/// What the sink says.
pub fn write(out: impl Write, devices: &[Device], places: &Places) -> Result<(), csv::Error> {
    let mut writer = WriterBuilder::new().from_writer(out);
    writer.write_record(COLUMNS)?;
    for device in devices {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let attributes = match device.attributes.as_object() {
            Some(object) if !object.is_empty() => device.attributes.to_string(),
            _ => String::new(),
        };
        writer.write_record([
            device.imei.to_string(),
            text(&device.name),
            text(&device.model),
            text(&device.firmware),
            text(&device.phone),
            text(&device.iccid),
            text(&device.note),
            device.state.to_string(),
            attributes,
            places
                .get(&device.id)
                .map_or("", |(asset, _)| asset)
                .to_owned(),
            places
                .get(&device.id)
                .map_or("", |(_, group)| group)
                .to_owned(),
        ])?;
    }
    writer.flush()?;
    Ok(())
}

/// Why nothing was imported.
#[derive(Debug)]
pub enum ImportError {
    /// What is wrong in which line; never empty.
    Mistakes(Vec<Mistake>),
    /// The database did not answer, or refused everything.
    Store(StoreError),
}

/// Adds and changes the devices of a sheet: all lines or none.
///
/// # Errors
/// Every line that stands against what is there.
pub fn import(client: &mut impl GenericClient, rows: &[Row]) -> Result<Imported, ImportError> {
    let entries: Vec<Entry> = rows
        .iter()
        .map(|row| Entry {
            imei: row.imei,
            change: row.change.clone(),
            asset: row.asset.clone(),
            group: row.group.clone(),
        })
        .collect();
    store::import(client, &entries).map_err(|error| match error {
        SheetError::Store(error) => ImportError::Store(error),
        SheetError::Entries(wrong) => ImportError::Mistakes(
            wrong
                .into_iter()
                .map(|(place, text)| mistake(rows[place].line, None, text))
                .collect(),
        ),
    })
}

/// What an import would do, a line for each device that it would add or change.
pub fn differences(rows: &[Row], before: &HashMap<Imei, Device>, places: &Places) -> Vec<String> {
    rows.iter()
        .filter_map(|row| match before.get(&row.imei) {
            None => Some(format!("{} would be added", row.imei)),
            Some(device) => {
                let mut fields = changed_fields(&row.change, device);
                let (asset, group) = places.get(&device.id).cloned().unwrap_or_default();
                let differs =
                    |new: &Option<String>, old: &str| new.as_ref().is_some_and(|new| new != old);
                if differs(&row.asset, &asset) {
                    fields.push("asset");
                }
                if differs(&row.group, &group) {
                    fields.push("group");
                }
                let text = || format!("{} would change: {}", row.imei, fields.join(", "));
                (!fields.is_empty()).then(text)
            }
        })
        .collect()
}

fn changed_fields(change: &DeviceChange, device: &Device) -> Vec<&'static str> {
    let differs = |new: &Option<String>, old: &Option<String>| {
        new.as_deref()
            .is_some_and(|new| new != old.as_deref().unwrap_or_default())
    };
    let attributes = change.attributes.as_ref().and_then(|new| new.as_object());
    [
        ("name", differs(&change.name, &device.name)),
        ("model", differs(&change.model, &device.model)),
        ("firmware", differs(&change.firmware, &device.firmware)),
        ("phone", differs(&change.phone, &device.phone)),
        ("iccid", differs(&change.iccid, &device.iccid)),
        ("note", differs(&change.note, &device.note)),
        (
            "state",
            change.state.is_some_and(|state| state != device.state),
        ),
        (
            "attributes",
            attributes.is_some_and(|new| {
                new.iter().any(|(key, value)| {
                    device
                        .attributes
                        .get(key)
                        .unwrap_or(&serde_json::Value::Null)
                        != value
                })
            }),
        ),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn texts(sheet: &str) -> Vec<String> {
        read(sheet.as_bytes())
            .unwrap_err()
            .iter()
            .map(Mistake::to_string)
            .collect()
    }

    fn device(imei: &str, name: Option<&str>) -> Device {
        Device {
            id: 1,
            imei: imei.parse().unwrap(),
            name: name.map(str::to_owned),
            model: Some("FMB920".to_owned()),
            firmware: None,
            phone: Some("+49 1".to_owned()),
            iccid: None,
            note: Some("a, \"b\"\nc".to_owned()),
            state: DeviceState::Refused,
            attributes: serde_json::json!({"depot": "north; 1"}),
            version: 1,
            created_at: SystemTime::UNIX_EPOCH,
            updated_at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_a_spreadsheet_saves_is_read() {
        let sheet = "\u{feff}IMEI; Name ;model\r\n356307042441013;Van 7;fmb920\r\n;;\r\n 356307042441021 ;;\r\n";
        let rows = read(sheet.as_bytes()).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].line, 2);
        assert_eq!(rows[0].change.name.as_deref(), Some("Van 7"));
        assert_eq!(rows[0].change.model.as_deref(), Some("FMB920"));
        assert_eq!(rows[0].change.note, None, "a column that is not there");
        assert_eq!(rows[1].line, 4);
        assert_eq!(rows[1].change.name.as_deref(), Some(""), "an empty cell");
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_column() {
        let sheet = "imei,name,state,attributes\n\
                     3.56307E+14,a,,\n\
                     356307042441013,b,asleep,[1]\n\
                     35630704244102,c\n\
                     356307042441013,d,,\n\
                     56307042441013,e,,\n";
        let texts = texts(sheet);
        assert_eq!(texts.len(), 6, "{texts:#?}");
        assert!(texts[0].starts_with("2: column imei: a spreadsheet has turned"));
        assert!(texts[1].starts_with("3: column state: \"asleep\": a state is accepted"));
        assert!(texts[2].starts_with("3: column attributes: a JSON object is needed"));
        assert!(texts[3].starts_with("4: 2 values for 4 columns"));
        assert!(texts[4].starts_with("5: column imei: 356307042441013 stands in line 3"));
        assert!(texts[5].contains("dropped a zero in front?"));
    }

    #[test]
    fn a_header_that_is_not_understood_is_told_whole() {
        let texts = texts("serial,nmae,name,name\n1,2,3,4\n");
        assert_eq!(texts.len(), 4, "{texts:#?}");
        assert!(texts[0].starts_with("1: column \"serial\": there is no such column"));
        assert!(texts[2].contains("twice"));
        assert!(texts[3].contains("imei among them"));
        assert!(self::texts("").pop().unwrap().contains("the file is empty"));
    }

    #[test]
    fn text_in_another_encoding_is_no_text() {
        let sheet = b"imei,name\n356307042441013,M\xFCnchen\n";
        let mistakes = read(sheet).unwrap_err();
        assert!(
            mistakes[0]
                .to_string()
                .starts_with("2: column name: this is not UTF-8")
        );
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        let mut out = Vec::new();
        let devices = [
            device("356307042441013", Some("Van 7")),
            device("356307042441021", None),
        ];
        let places = HashMap::from([(1, ("Truck 1".to_owned(), "north".to_owned()))]);
        write(&mut out, &devices, &places).unwrap();
        let rows = read(&out).unwrap();
        let before = devices
            .iter()
            .map(|device| (device.imei, device.clone()))
            .collect();
        assert_eq!(differences(&rows, &before, &places), Vec::<String>::new());
        assert_eq!(rows[0].asset.as_deref(), Some("Truck 1"));
        assert_eq!(rows[0].change.note, devices[0].note);
        assert_eq!(rows[0].change.state, Some(DeviceState::Refused));
    }

    #[test]
    fn a_dry_run_names_what_would_change() {
        let rows =
            read(b"imei,name,model\n356307042441013,Van 8,FMB920\n356307042441021,,\n").unwrap();
        let one = device("356307042441013", Some("Van 7"));
        let before = HashMap::from([(one.imei, one)]);
        assert_eq!(
            differences(&rows, &before, &Places::new()),
            [
                "356307042441013 would change: name",
                "356307042441021 would be added"
            ]
        );
    }
}
