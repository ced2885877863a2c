//! The command line: help that people read, errors that name what is wrong, exit codes.

mod common;

use std::fs;

use common::{ends, run, scratch, stderr, stdout, words};

/// A snapshot of the help of every verb, and of the verbs below them; those of learning are with their tests.
#[test]
fn the_help_of_every_verb_is_as_it_was() {
    let verbs_of = |help: &str| -> Vec<String> {
        let list = help.split_once("Commands:\n").map_or("", |(_, list)| list).lines();
        let names = list.take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
        let names = names.filter(|name| !name.starts_with(' ')).filter_map(|line| line.split(' ').next());
        names.filter(|name| *name != "help").map(str::to_string).collect()
    };
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let help = stdout(&run(&path.iter().map(String::as_str).chain(["--help"]).collect::<Vec<_>>()));
        waiting.extend(verbs_of(&help).into_iter().map(|verb| [path.clone(), vec![verb]].concat()));
        insta::assert_snapshot!(format!("help_of_{}", [vec!["relgrad".to_string()], path].concat().join("_")), help);
    }
}

#[test]
fn a_device_that_is_not_there_is_named_before_anything_is_written() {
    if stdout(&run(&["doctor"])).contains("GPU 0") {
        return;
    }
    let dir = scratch();
    let out = dir.path().join("sweep");
    for line in [
        "sweep --device cuda",
        "sweep --device cpu,cuda",
        "verify --sizes 3 --device cuda",
        "roofline --dtype f32 --device cuda",
    ] {
        let mut command = words(line);
        if line.starts_with("sweep") {
            command.arg("--out").arg(&out);
        }
        let (_, text) = ends(&mut command, 7);
        assert!(text.starts_with("relgrad: no CUDA device: ") && text.contains("install"), "{line}: {text}");
        assert_eq!(text.lines().count(), 1, "{line}: {text}");
        assert!(!out.exists());
    }
}

#[test]
fn the_doctor_names_every_library_and_what_to_do() {
    let (text, _) = ends(&mut words("doctor"), 0);
    for part in
        ["cpu", "SIMD", "memory", "libcuda", "libnvrtc", "libcublas", "libcusolver", "NVML", "libmpi_abi", "mpiexec"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn wrong_usage_ends_with_code_2_and_names_the_item() {
    for (line, named) in [
        ("sweep --dims 10,abc", "`abc`"),
        ("sweep --methods relative,magic", "magic"),
        ("sweep --budget soon", "`soon`"),
        ("sweep --mem-limit much", "`much`"),
        ("sweep --batch 0", "`0`"),
        ("sweep --activation relu", "relu"),
        ("sweep --coupling sparse", "sparse"),
        ("sweep --grids 8x8", "--coupling conv"),
        ("sweep --coupling conv --dims 10", "--grids"),
        ("sweep --coupling conv --grids 8x", "`8x`"),
        ("sweep --coupling conv --grids 64,8x8", "same number of points"),
        ("sweep --coupling conv --kernel large", "`large`"),
        ("sweep --coupling conv --kernel 3 --grids 10", "use `ordinary`"),
        ("sweep --coupling conv --kernel 3 --grids 10 --methods transposed", "use `ordinary`"),
        ("sweep --device tpu", "cpu, cuda"),
        ("sweep --math tf32", "--device cuda"),
        ("sweep --device cuda --math tf32 --dtype f64", "requires --dtype f32, not f64"),
        ("sweep --device cuda --math bf16", "--math bf16 requires --device cpu"),
        ("sweep --device cpu,cuda --methods relative-delayed", "relative-delayed requires --device cpu"),
        ("sweep --math bf16 --dtype f64", "requires --dtype f32, not f64"),
        ("sweep --coupling conv --math bf16", "--device cpu and no --math"),
        ("sweep --step muon --methods relative,relative-inplace", "relative-inplace stores no gradient"),
        ("sweep --step muon --coupling conv", "muon is for dense layers"),
        ("sweep --step adam --device cuda", "updates require --device cpu"),
        ("sweep --step newton", "plain, adam, muon"),
        ("sweep --tune m=3", "probes=COUNT from 1"),
        ("sweep --tune beta=2 --methods relative,hutchinson", "`beta=2` has a number that no chosen method has"),
        ("train toy:moons --tune probes=5", "`probes=5` has a number that no chosen method has"),
        ("sweep --resume somewhere --dims 10", "--dims"),
        ("roofline --dtype f16", "f16"),
        ("roofline --threads 1,0", "`0`"),
        ("roofline --math tf32", "--device cuda"),
        ("sweep --device cuda --coupling conv", "--device cpu"),
        ("sweep --device cuda --threads 1,2", "several numbers of threads require --device cpu"),
        ("report no/such/folder", "no/such/folder"),
        ("plot no/such/folder --figure fig9", "fig9"),
        ("plot no/such/folder --figure fig3 --out a.gif", "--out a.gif must end in .svg, .png or .pdf"),
        ("plot no/such/folder --width 20mm", "choose 55 to 494 mm"),
        ("plot no/such/folder --font-size 8", "write 8mm, 8in or 8pt"),
        ("verify no/such/file.json", "no/such/file.json"),
    ] {
        refuses(line, named);
    }
}

#[test]
fn the_version_names_the_program_and_its_revision() {
    let text = stdout(&run(&["--version"]));
    assert!(text.starts_with(concat!("relgrad ", env!("CARGO_PKG_VERSION"))), "{text}");
    assert_eq!(text.contains("(revision "), option_env!("RELGRAD_GIT_REVISION").is_some(), "{text}");
}

/// A bare 10 may be ten percent or ten times, seconds or minutes, bytes or gibibytes.
#[test]
fn a_number_without_its_unit_is_refused_by_every_option_that_has_one() {
    for (options, hint) in [
        ("compare --max-slowdown", "write 10% or 1.1x"),
        ("compare --max-slowdown-elsewhere", "write 10% or 1.1x"),
        ("compare --max-growth", "write 10% or 1.1x"),
        ("gate --max-slowdown", "write 10% or 1.1x"),
        ("gate --round-time", "write 10s or 10m"),
        ("gate --cell-limit", "write 10s or 10m"),
        ("calibrate --max-growth", "write 10% or 1.1x"),
        ("sweep --budget", "write 10s or 10m"),
        ("sweep --cell-limit", "write 10s or 10m"),
        ("sweep --mem-limit", "write 10GiB"),
        ("train --time-limit", "write 10s or 10m"),
    ] {
        refuses(&format!("{options} 10"), hint);
        refuses(&format!("{options} 10"), "`10` has no unit");
    }
}

#[test]
fn numbers_beyond_all_measure_are_refused() {
    let most = u64::MAX.to_string();
    for verb in ["gate", "calibrate"] {
        for option in ["threads", "batch", "layers", "dims", "rounds", "max-rounds", "more-rounds"] {
            refuses(&format!("{verb} --{option} {most}"), &most);
        }
        for option in ["round-time", "cell-limit"] {
            refuses(&format!("{verb} --{option} 99999999999999999999s"), "3650d");
        }
    }
    for line in [
        "calibrate --aa",
        "roofline --threads",
        "roofline --batch",
        "peer-case --dim",
        "verify --sizes",
        "evaluate --count 1 --dim",
        "evaluate --dim 1 --count",
        "peer-case --dim 1 --layers",
    ] {
        refuses(&format!("{line} {most}"), &most);
    }
}

#[test]
fn what_does_not_fit_into_memory_is_refused_before_it_is_begun() {
    for line in [
        "evaluate --count 1 --dim 1000000",
        "evaluate --count 1 --dim 10 --batch 1000000000",
        "peer-case --dim 1000000",
        "peer-case --dim 2 --layers 2 --batch 1000000000",
        "verify --sizes 1000000",
        "roofline --batch 1000000000",
        "gate --save never.jsonl --dims 10000000",
    ] {
        refuses(line, "available");
    }
}

#[track_caller]
fn refuses(line: &str, named: &str) {
    let (_, told) = ends(&mut words(line), 2);
    assert!(told.contains(named), "{line}: {told}");
}

#[test]
fn more_threads_than_cores_are_told_of() {
    let cores = std::thread::available_parallelism().expect("a count").get();
    let told = |threads: usize| ends(&mut words(&format!("evaluate --dim 3 --count 1 --threads {threads}")), 0).1;
    assert_eq!(told(cores), "");
    let warning = told(cores + 1);
    assert!(warning.contains(&format!("{} threads on {cores} core", cores + 1)), "{warning}");
}

/// What a terminal would obey is shown, not sent.
#[test]
fn control_characters_of_an_argument_are_made_visible() {
    for arguments in [["sweep", "--dims", "\u{1b}[2J"], ["plot", "x", "--\u{1b}[2J"]] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(!stderr(&output).contains('\u{1b}'), "{:?}", stderr(&output));
    }
}

#[test]
fn a_folder_with_a_sweep_is_not_overwritten_and_that_of_a_newer_relgrad_is_refused() {
    for (file, text, verb, told) in [
        ("records.jsonl", "{}\n", "sweep --dims 2 --out", "--resume"),
        ("run.json", r#"{"schema": 999}"#, "report", "schema version 999"),
    ] {
        let dir = scratch();
        fs::write(dir.path().join(file), text).expect("a file");
        let (_, err) = ends(words(verb).arg(dir.path()), 2);
        assert!(err.contains(told), "{err}");
    }
}

#[test]
fn list_prints_the_plan_and_runs_nothing() {
    let dir = scratch();
    let out = dir.path().join("sweep");
    let mut command = words("sweep --list --dims 10,20000 --methods relative,autodiff --rounds 1 --threads 2");
    let (text, _) = ends(command.args(["--mem-limit", "16GiB", "--budget", "none", "--out"]).arg(&out), 0);
    insta::assert_snapshot!(text);
    assert!(!out.exists());
}

/// What is hidden in the help is hidden there too.
#[test]
fn completions_and_manual_pages_have_the_verbs_of_the_help() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&run(&["completions", shell]));
        assert!(script.contains("min-samples") && script.contains("calibrate"), "{shell}: {script}");
        assert!(!script.contains("peer-case"), "{shell}: {script}");
    }
    let dir = scratch();
    let out = dir.path().join("man/man1");
    ends(words("man --out").arg(&out), 0);
    let page = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let whole = page("relgrad.1");
    assert_eq!(whole, stdout(&run(&["man"])));
    assert!(whole.contains("relgrad\\-sweep(1)") && !whole.contains("peer"), "{whole}");
    assert!(page("relgrad-sweep.1").contains("\\-\\-budget"), "{}", page("relgrad-sweep.1"));
    assert!(page("relgrad-history-show.1").contains("\\-\\-store"));
    assert!(!out.join("relgrad-cell.1").exists());
    refuses("completions tcsh", "tcsh");
}
