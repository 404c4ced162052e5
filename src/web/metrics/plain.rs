//! The text form 0.0.4, which is older than OpenMetrics and still the one that most tools take.
//!
//! The two differ in a few lines: there a family of counters is named like its lines, with `_total`, and neither units nor an end
//! are written.

/// The same numbers in the older form.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + text.len() / 8);
    // The line that names a family's meaning stands before the one that names its type.
    let mut help = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else {
                continue;
            };
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, meaning)) = help.take() {
                plain.push_str(&format!("# HELP {name}{suffix} {meaning}\n"));
            }
            plain.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_infos_are_named_like_their_lines() {
        let text = "# HELP a_b What it counts.\n# TYPE a_b counter\na_b_total{x=\"# y\"} 1\n\
            # HELP c What it is.\n# TYPE c info\nc_info{v=\"1\"} 1\n\
            # HELP d_seconds How long.\n# TYPE d_seconds gauge\n# UNIT d_seconds seconds\nd_seconds 0.5\n# EOF\n";
        let plain = "# HELP a_b_total What it counts.\n# TYPE a_b_total counter\na_b_total{x=\"# y\"} 1\n\
            # HELP c_info What it is.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n\
            # HELP d_seconds How long.\n# TYPE d_seconds gauge\nd_seconds 0.5\n";
        assert_eq!(from_open_metrics(text), plain);
    }
}
