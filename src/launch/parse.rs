//! A launch out of a text: a command line, a script, a document, or a page in which one of them stands.

use super::shell::assignment;
use super::wrapper::{self, Bare};
use super::{Launch, LaunchFile, called, copied, heredoc, listed, manifest, prose, several, words};

impl Launch {
    /// Takes apart one line as a shell would (quotes and backslashes, no expansion).
    ///
    /// The files that the command names are not opened here: see [`Launch::with_files`]. One that the same lines write
    /// (`cat > options.yml << EOF`) is read as they write it. A document that starts the engine (a compose file, a manifest, a
    /// Dockerfile) stands for the command of its container.
    ///
    /// Of a text with fenced blocks the first that starts an engine counts, and of one that starts none by itself the first command
    /// between backquotes. The release may stand anywhere in a text of several lines.
    pub fn parse(line: &str) -> Launch {
        let text = prose::without_templates(line);
        let (text, broken) = copied::joined(&text);
        let mut launch = Launch::parse_text(&text, true);
        if prose::is_fenced(&text) || launch.engine.is_none() && text.contains('`') {
            launch = Launch::of_parts(&text).unwrap_or(launch);
        }
        if launch.engine.is_none()
            && let Some(found) = prose::strings(&text).first().map(|s| Launch::parse_text(s, false))
        {
            launch = found;
        }
        if launch.engine.is_none()
            && let Some((words, told)) =
                called::launch(&text).or_else(|| listed::launch(&text)).or_else(|| listed::built(&text))
        {
            launch = Launch::from_argv(&words);
            launch.problems.splice(0..0, told);
            // The words are not the text's: its release stands beside them.
            launch.version =
                launch.version.or_else(|| launch.engine.and_then(|engine| prose::release(&text, engine)));
        }
        if launch.engine.is_none() {
            launch.problems.extend(manifest::unread(&text));
        }
        // One line's own words were read already.
        if let (None, Some(engine), true) = (launch.version, launch.engine, text.trim().contains('\n')) {
            launch.version = prose::release(&text, engine);
        }
        if broken && launch.engine.is_some() {
            launch.problems.push(
                "a backslash with a blank behind it continues no line to a shell; the command is read as it was meant".into(),
            );
        }
        launch
    }

    /// The first part of a document that starts an engine.
    fn of_parts(text: &str) -> Option<Launch> {
        let parts = prose::parts(text);
        // One word alone names an image or a program and starts none.
        let starts = |l: &Launch| l.engine.is_some() && l.argv.len() > 1;
        let mut found = parts.iter().map(|p| Launch::parse_text(p, true)).filter(starts);
        let mut first = found.next()?;
        let others: Vec<Launch> = found.filter(|l| l.argv != first.argv && l.model.is_some()).collect();
        let told = several::told("parts of the text", &first, &others);
        first.problems.extend(told);
        Some(first)
    }

    /// `from_written`: a file that the lines write may hold the command.
    fn parse_text(line: &str, from_written: bool) -> Launch {
        let (line, mut written, told) = heredoc::taken(line);
        if let Some(document) = manifest::command(&line, starts_engine) {
            return Launch::of_document(document);
        }
        let (words, closed) = words::commands(&line);
        let mut launch = Launch::from_argv(&words);
        if launch.engine.is_none()
            && from_written
            && let Some(found) = launch.of_written(&written)
        {
            return found;
        }
        if !written.is_empty() {
            // `cat > "$FILE" << EOF` and `--config "$FILE"` name one file.
            for file in &mut written {
                file.path = super::shell::expanded(&file.path, &launch.env);
            }
            launch = launch.with_files(written);
        }
        launch.problems.extend(told);
        if !closed {
            launch
                .problems
                .push("the command has a quote that never closes; it was split at its blanks".into());
        }
        launch
    }

    /// The launch of a file that a script writes and does not start itself: a manifest for `kubectl apply`, a script for later.
    fn of_written(&self, written: &[LaunchFile]) -> Option<Launch> {
        written.iter().find_map(|file| {
            let text = super::shell::expanded(&file.text, &self.env);
            let mut launch = Launch::parse_text(&text, false);
            launch.engine?;
            launch
                .problems
                .insert(0, format!("the command is that of {}, which the script writes", file.path));
            Some(launch)
        })
    }

    /// Takes apart words: `[NAME=value]… program… [positional model] [flags]`, and what may stand around them (a
    /// container, a launcher such as `mpirun`, a shell).
    pub fn from_argv<S: AsRef<str>>(words: &[S]) -> Launch {
        let words: Vec<String> =
            words.iter().map(|w| copied::without_backquote(w.as_ref()).to_owned()).collect();
        let Bare { mut env, argv, version, problems, found, beside, .. } = wrapper::strip(&words);
        let set = words.iter().map_while(|w| assignment(w));
        // What the wrapper read is whole already: a value may end in the `;` behind it here.
        for (name, value) in set {
            env.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        let mut launch = Launch::new(env, argv, Vec::new());
        launch.version = launch.version.or(version);
        if !found {
            launch.without_program();
        }
        launch.problems.splice(0..0, problems);
        let others: Vec<Launch> = beside.commands.iter().map(|words| Launch::from_argv(words)).collect();
        let what = "commands of the script";
        let told = if beside.decided {
            several::plain(what, 1 + others.len())
        } else {
            several::told(what, &launch, &others)
        };
        launch.problems.extend(told);
        launch
    }

    /// The launch of a document, and what is to be told of others in it.
    fn of_document(document: manifest::Found) -> Launch {
        let copies = |replicas: u64| u32::try_from(replicas).ok().filter(|n| *n > 1);
        let mut launch = Launch::from_argv(&document.words);
        if !document.files.is_empty() {
            launch = launch.with_files(document.files);
        }
        let others: Vec<Launch> = document
            .beside
            .iter()
            .map(|(words, replicas)| Launch { replicas: copies(*replicas), ..Launch::from_argv(words) })
            .collect();
        let first = Launch { replicas: copies(document.replicas), ..launch.clone() };
        let told = several::told("containers of the document", &first, &others);
        launch.problems.splice(0..0, document.problems.into_iter().chain(told));
        launch
    }
}

/// Words whose program is not found stay as they are.
fn starts_engine(words: &[String]) -> bool {
    let launch = Launch::from_argv(words);
    launch.engine.is_some() && launch.argv.first().is_some_and(|w| w != "docker")
}
