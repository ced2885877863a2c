//! The script that a task runs: one text for each engine, for people to read before and after.

use super::Cluster;
use super::campaign::{Campaign, PROGRAM};

/// The script, in the folder of the tasks or, over ssh, in a folder of the host's.
pub(super) fn text(campaign: &Campaign, cluster: &Cluster) -> String {
    let Campaign { version, plan, parts, work, .. } = campaign;
    let [does, at_once] = work.explanation();
    let mut lines = vec![
        "#!/bin/sh".to_string(),
        format!("# Written by relgrad {version}. A task {does} one of {parts} parts of the plan {plan}."),
        format!("# {at_once}, in the folder of the part; a task that is run again continues there."),
    ];
    lines.extend(requests(campaign, cluster));
    let (part, program) = match cluster {
        Cluster::Slurm { .. } => ("${SLURM_ARRAY_TASK_ID:?}", format!("./{PROGRAM}")),
        Cluster::HyperQueue => ("${HQ_TASK_ID:?}", format!("./{PROGRAM}")),
        Cluster::Ssh { .. } => ("${1:?}", "\"$2\"".to_string()),
    };
    let folder = match cluster {
        Cluster::Ssh { .. } => "\"$(dirname \"$0\")\"".to_string(),
        _ => quoted(&campaign.tasks().to_string_lossy()),
    };
    let words: Vec<String> = campaign.words.iter().map(|word| quoted(word)).collect();
    lines.push(format!("part={part}"));
    lines.push(format!("cd {folder} || exit 3"));
    lines.push("exec >>\"part-$part.log\" 2>&1".to_string());
    let command = work.command();
    lines.push(format!("exec {program} {command} --shard \"$part/{parts}\" --out \"part-$part\" \\"));
    lines.push(format!("    {}", words.join(" ")).trim_end().to_string());
    lines.join("\n").trim_end_matches(['\\', ' ', '\n']).to_string() + "\n"
}

/// What a task needs, in the engine's own comments: a whole node, since times are measured.
fn requests(campaign: &Campaign, cluster: &Cluster) -> Vec<String> {
    let Campaign { name, parts, .. } = campaign;
    let (mark, requests) = match cluster {
        Cluster::Slurm { partition } => {
            let mut requests = vec![
                format!("--job-name={name}"),
                format!("--array=1-{parts}"),
                "--nodes=1".to_string(),
                "--ntasks=1".to_string(),
                "--exclusive".to_string(),
                // All memory of the node.
                "--mem=0".to_string(),
                // A task that is lost with its node is handed over again by the process that follows it.
                "--no-requeue".to_string(),
                "--output=part-%a.log".to_string(),
                "--open-mode=append".to_string(),
            ];
            requests.extend(partition.as_ref().map(|partition| format!("--partition={partition}")));
            requests.extend(campaign.task_seconds.map(|seconds| format!("--time={}", minutes(seconds))));
            ("#SBATCH", requests)
        }
        Cluster::HyperQueue => {
            let all = ["--cpus=all", "--stdout=none", "--stderr=none"].map(str::to_string);
            ("#HQ", [format!("--name={name}")].into_iter().chain(all).collect())
        }
        Cluster::Ssh { .. } => ("", Vec::new()),
    };
    requests.into_iter().map(|request| format!("{mark} {request}")).collect()
}

fn minutes(seconds: f64) -> u64 {
    (seconds / 60.0).ceil().max(1.0) as u64
}

/// A word as the shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::campaign::testing::campaign;
    use super::super::work::Work;
    use super::*;

    fn script(cluster: &str) -> String {
        let campaign = campaign(cluster, Path::new("/home/me/two words"));
        text(&campaign, &cluster.parse().unwrap())
    }

    #[test]
    fn the_script_of_slurm() {
        insta::assert_snapshot!(script("slurm:debug"));
    }

    #[test]
    fn a_task_of_a_search_trains_its_part() {
        let words = ["--effort", "smoke"].map(str::to_string).to_vec();
        let campaign = Campaign { work: Work::Search, words, ..campaign("hq", Path::new("/x")) };
        let text = text(&campaign, &Cluster::HyperQueue);
        let command =
            "exec ./relgrad experiment table1 --search --shard \"$part/4\" --out \"part-$part\" \\\n    --effort";
        assert!(text.contains(command) && text.contains("# Each training has its result at once, "), "{text}");
    }

    #[test]
    fn the_script_of_hyperqueue() {
        insta::assert_snapshot!(script("hq"));
    }

    #[test]
    fn the_script_over_ssh() {
        insta::assert_snapshot!(script("ssh:a,b"));
    }

    #[test]
    fn a_script_without_words_or_limits_ends_after_the_part() {
        let campaign = Campaign { words: Vec::new(), task_seconds: None, ..campaign("slurm", Path::new("/x")) };
        let text = text(&campaign, &Cluster::Slurm { partition: None });
        assert!(text.ends_with("--out \"part-$part\"\n"), "{text}");
        assert!(!text.contains("--time") && !text.contains("--partition"), "{text}");
    }

    #[test]
    #[cfg(unix)]
    fn a_shell_reads_a_quoted_word_back() {
        for word in ["", "a b", "it's", "$HOME", "`x`", "a\\b", "10:100", "\"", "*", "tanh:1:0.1"] {
            let command = format!("printf %s {}", quoted(word));
            let output = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), word, "{command}");
        }
        assert_eq!(quoted("--dims"), "--dims");
    }
}
