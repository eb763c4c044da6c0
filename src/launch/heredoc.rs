//! Files that a script writes before it starts the engine: `cat << EOF > options.yml` and the lines up to `EOF`.

use super::LaunchFile;
use std::borrow::Cow;

/// The lines without their here-documents, the files that those write, and what is to be told of them. A later document of the
/// same file (`>>`) is added to it, unless a condition of the script decides whether it is.
pub(super) fn taken(line: &str) -> (Cow<'_, str>, Vec<LaunchFile>, Vec<String>) {
    if !line.contains("<<") {
        return (Cow::Borrowed(line), Vec::new(), Vec::new());
    }
    let mut left: Vec<&str> = Vec::new();
    let mut files: Vec<LaunchFile> = Vec::new();
    let mut told: Vec<String> = Vec::new();
    // A carriage return between quotes belongs to its word.
    let mut lines = line.split('\n');
    let mut depth = 0usize;
    while let Some(command) = lines.next() {
        let Some((path, tag, added)) = opening(command) else {
            depth = nested(command, depth);
            left.push(command);
            continue;
        };
        let body: Vec<&str> =
            lines.by_ref().take_while(|l| l.trim() != tag).map(|l| l.trim_end_matches('\r')).collect();
        let text = body.join("\n") + "\n";
        if added && depth > 0 && files.iter().any(|f| f.path == path) {
            told.push(format!("{path}: what the script adds under a condition is left out"));
            continue;
        }
        match files.iter_mut().find(|f| f.path == path) {
            Some(file) if added => file.text.push_str(&text),
            Some(file) => file.text = text,
            None => files.push(LaunchFile { path, text }),
        }
    }
    (Cow::Owned(left.join("\n")), files, told)
}

/// How many conditions and loops are open behind a line.
fn nested(line: &str, depth: usize) -> usize {
    let words: Vec<&str> = line.split_whitespace().map(|w| w.trim_end_matches(';')).collect();
    let opens = matches!(words.first(), Some(&("if" | "for" | "while" | "until" | "case")));
    let closes = words.iter().any(|w| matches!(*w, "fi" | "done" | "esac"));
    (depth + usize::from(opens)).saturating_sub(usize::from(closes))
}

/// The path that the document goes to, its last line, and whether it is added to the file.
fn opening(command: &str) -> Option<(String, String, bool)> {
    let words: Vec<&str> = command.split_whitespace().collect();
    if !matches!(*words.first()?, "cat" | "tee" | "sudo") || command.contains("<<<") {
        return None;
    }
    let plain = |w: &str| w.trim_matches(['"', '\'']).to_owned();
    // The operand stands in the same word or in the next one.
    let after = |mark: &str| {
        let i = words.iter().position(|w| w.starts_with(mark))?;
        let rest = words[i][mark.len()..].trim_start_matches('-');
        if rest.is_empty() { words.get(i + 1).copied() } else { Some(rest) }.map(plain)
    };
    let tag = after("<<")?;
    let added = words.iter().any(|w| w.starts_with(">>"));
    let path = match words.iter().position(|w| *w == "tee") {
        Some(i) => words[i + 1..].iter().find(|w| !w.starts_with(['-', '<', '>'])).map(|w| plain(w)),
        None => after(if added { ">>" } else { ">" }),
    };
    Some((path?, tag, added))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Launch;

    #[test]
    fn a_file_that_the_script_writes_is_read() {
        let script = "cat << 'EOF' > x.yml\nkv_cache_config:\n  dtype: fp8\nEOF\ncat >>x.yml <<EOF\nmax_batch_size: 9\nEOF\n\
                      mpirun -n 1 trtllm-serve m --tp_size 4 --extra_llm_api_options x.yml";
        let launch = Launch::parse(script);
        assert_eq!((launch.integer(&["max-batch-size"]), launch.integer(&["tp-size"])), (Some(9), Some(4)));
        assert_eq!(launch.text(&["kv-cache-config.dtype"]), Some("fp8"));
        assert!(launch.problems.is_empty() && launch.missing_files().is_empty(), "{:?}", launch.problems);
        let under = "cat > x.yml <<E\na: 1\nE\nif [ $D = 1 ]; then\ncat >> x.yml <<E\nb: [${X%, }]\nE\nfi\n";
        let (_, files, told) = taken(under);
        assert_eq!((files[0].text.as_str(), told.len()), ("a: 1\n", 1));
        let (line, files, _) = taken("tee -a y.yml > /dev/null <<-EOF\na: 1\nEOF");
        assert_eq!((line.as_ref(), files[0].path.as_str(), files[0].text.as_str()), ("", "y.yml", "a: 1\n"));
        assert!(taken("vllm serve m <<< x").1.is_empty());
    }
}
