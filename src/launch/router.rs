//! Replicas of one engine and the router before them, as commands.

use super::{Launch, quote};
use std::fmt::Write as _;

/// The words of a router's command: `{urls}` becomes the addresses of the engines, a word each, `{urls_comma}` the same in one
/// word, `{port}` the router's port and `{model}` the model.
pub fn router_words(template: &[String], urls: &[String], port: u16, model: &str) -> Vec<String> {
    let mut out = Vec::new();
    for word in template {
        if word == "{urls}" {
            out.extend(urls.iter().cloned());
        } else {
            let port = port.to_string();
            let filled = [("{urls_comma}", urls.join(",")), ("{port}", port), ("{model}", model.to_owned())];
            out.push(filled.iter().fold(word.clone(), |w, (name, value)| w.replace(name, value)));
        }
    }
    out
}

/// The first port of the replicas in a written command; the router listens below it.
const FIRST: u16 = 8001;

impl Launch {
    /// The lines that serve the launch: one command, or one for each replica with its GPUs and its port, and the router before
    /// them.
    pub fn to_lines(&self, router: Option<&[String]>) -> String {
        let Some(copies) = self.replicas.filter(|n| *n > 1) else { return self.to_text() };
        let each = self.num_gpus.unwrap_or(copies) / copies;
        let mut out = String::new();
        for k in 0..copies {
            let gpus: Vec<String> = (k * each..(k + 1) * each).map(|g| g.to_string()).collect();
            let port = FIRST + k as u16;
            let _ =
                writeln!(out, "CUDA_VISIBLE_DEVICES={} {} --port {port} &", gpus.join(","), self.to_text());
        }
        let urls: Vec<String> =
            (0..copies).map(|k| format!("http://127.0.0.1:{}", FIRST + k as u16)).collect();
        match router {
            Some(template) => {
                let model = self.model.as_deref().unwrap_or_default();
                let words = router_words(template, &urls, FIRST - 1, model);
                let words: Vec<String> = words.iter().map(|w| quote(w)).collect();
                let _ = write!(out, "{}", words.join(" "));
            }
            None => {
                let _ = write!(
                    out,
                    "# send requests in turn to {}, as any reverse proxy does",
                    urls.join(" and ")
                );
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_written_with_gpus_ports_and_router() {
        let mut launch = Launch::parse("vllm serve m --tensor-parallel-size 2");
        (launch.replicas, launch.num_gpus) = (Some(2), Some(4));
        let template: Vec<String> = "r --worker-urls {urls} --list={urls_comma} --port {port} -m {model}"
            .split(' ')
            .map(str::to_owned)
            .collect();
        assert_eq!(
            launch.to_lines(Some(&template)),
            "CUDA_VISIBLE_DEVICES=0,1 vllm serve m --tensor-parallel-size 2 --port 8001 &\n\
             CUDA_VISIBLE_DEVICES=2,3 vllm serve m --tensor-parallel-size 2 --port 8002 &\n\
             r --worker-urls http://127.0.0.1:8001 http://127.0.0.1:8002 \
             '--list=http://127.0.0.1:8001,http://127.0.0.1:8002' --port 8000 -m m"
        );
        assert!(launch.to_lines(None).contains("in turn"));
        launch.replicas = None;
        assert_eq!(launch.to_lines(None), launch.to_text());
    }
}
