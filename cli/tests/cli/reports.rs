//! The output and the exit codes of `info`, `verify`, `bench` and `digits`.

use crate::support::{Files, command};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn info() {
    let files = Files::new();
    let out = files.run("info").ok();
    assert!(out.contains("scalar") && out.contains("chosen"), "{out}");
    let info: serde_json::Value = serde_json::from_str(&files.run("info --json").ok()).unwrap();
    let kernels = info["kernels"].as_array().unwrap();
    assert!(kernels.iter().any(|kernel| kernel["chosen"] == true));
    for kernel in kernels {
        let [mr, nr, kr, steps] = ["mr", "nr", "kr", "steps"].map(|size| kernel[size].as_u64().unwrap());
        let steps = if steps > 0 { format!("s{steps}") } else { String::new() };
        let name = format!("{}-{mr}x{nr}c{kr}{steps}", kernel["isa"].as_str().unwrap());
        assert_eq!(kernel["name"], name);
    }
    // The kernels for weights with a scale per group, of which one is used.
    let groupwise = info["groupwise_kernels"].as_array().unwrap();
    let chosen: Vec<_> = groupwise.iter().filter(|kernel| kernel["chosen"] == true).collect();
    assert_eq!((chosen.len(), &chosen[0]["name"]), (1, &info["chosen_groupwise"]));
    for kernel in groupwise {
        let name = kernel["name"].as_str().unwrap();
        assert!(name.starts_with(&format!("{}-g", kernel["isa"].as_str().unwrap())), "{name}");
        let line = out.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        assert_eq!(line.ends_with("chosen"), kernel["chosen"] == true, "{line}");
    }
    assert!(info["caches"]["l2"].as_u64().unwrap() > 0 && info["cores"].as_u64().unwrap() > 0);
}

#[test]
fn environment() {
    let isa = |value| command().arg("info").arg("--json").env("QGEMM_ISA", value).output().unwrap();
    let out = isa("scalar");
    let info: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(
        info["chosen"].as_array().unwrap().iter().all(|name| name.as_str().unwrap().starts_with("scalar"))
    );
    assert!(info["chosen_groupwise"].as_str().unwrap().starts_with("scalar-g"));
    let out = isa("nonesuch");
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).starts_with("error: QGEMM_ISA: was 'nonesuch'"));

    let caches = |value| command().arg("info").arg("--json").env("QGEMM_CACHES", value).output().unwrap();
    let info: serde_json::Value = serde_json::from_slice(&caches("48K,2M,0").stdout).unwrap();
    assert_eq!(info["caches"], serde_json::json!({ "l1d": 48 << 10, "l2": 2 << 20, "l3": 0 }));
    let text = command().arg("info").env("QGEMM_CACHES", "48K,2M,0").output().unwrap().stdout;
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("L1d 48 KiB, L2 2048 KiB per core (blocks are cut for it), L3 0 KiB"), "{text}");
    let out = command().arg("info").env("QGEMM_AMX_OVERHEAD", "many").output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.starts_with("error: QGEMM_AMX_OVERHEAD: was 'many', must be a number of cycles"), "{said}");
    let out = caches("48K,2M");
    assert_eq!(out.status.code(), Some(2));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        said.starts_with(
            "error: QGEMM_CACHES: was '48K,2M', must be the sizes of L1d, L2 (the share of a core) and L3"
        ),
        "{said}"
    );
}

/// `tune` measures where there is AMX; elsewhere it is refused for the reason that `info` tells.
#[test]
fn tune() {
    let files = Files::new();
    let info: serde_json::Value = serde_json::from_str(&files.run("info --json").ok()).unwrap();
    let amx = info["amx"].as_str().unwrap();
    if amx != "granted" {
        let want = format!("error: tune: was 'this CPU' ({amx}), must be a CPU with AMX");
        assert_eq!(files.run("tune --quick").refused("tune"), want);
        return;
    }
    assert!(files.run("tune --quick").ok().contains("\nQGEMM_AMX_OVERHEAD="));
    let report: serde_json::Value = serde_json::from_str(&files.run("tune --quick --json").ok()).unwrap();
    assert_eq!(report["products"].as_array().unwrap().len(), 64);
    assert!(report["best"]["overhead"].as_u64().unwrap() > 0);
}

#[test]
fn verify() {
    let files = Files::new();
    let out = files.run("verify --seconds 1 --seed 42").ok();
    let version = format!("qgemm    {}", env!("CARGO_PKG_VERSION"));
    assert!(out.starts_with(&version) && out.contains("\nseed     42\n") && out.contains("scalar"), "{out}");
    assert!(out.contains("\ncpu      ") && out.contains("\nfeatures ") && !out.contains("\nwith "), "{out}");
    // The lines of kernels, which have names with a hyphen.
    let kernels = |out: &str| -> Vec<String> {
        let names = out.lines().filter(|line| line.ends_with(" cases exact"));
        names.map(|line| line.split_whitespace().next().unwrap().to_string()).collect()
    };
    let out = files.run("verify --seconds 0.1 --kernel scalar").ok();
    // Its kernel for scales per column, and that for scales per group.
    let names = kernels(&out);
    assert!(names.len() == 2 && names.iter().all(|name| name.starts_with("scalar-")), "{out}");
    for name in names {
        let out = files.run(&format!("verify --seconds 0.1 --kernel {name}")).ok();
        assert_eq!(kernels(&out), [name], "{out}");
    }
    // Two kernels, one digest.
    let digest = |kernel: &str| {
        let out = files.run(&format!("verify --seed 7 --case 3 --kernel {kernel}")).ok();
        let line = out.lines().find(|line| line.starts_with("digest   ")).unwrap().to_string();
        assert!(line.ends_with(" of the outputs of 1 case(s)") && line.len() > 40, "{line}");
        line
    };
    assert_eq!(digest("scalar"), digest("portable"));
    let told = command().args(["verify", "--seconds", "0"]).env("QGEMM_CACHES", "48K,2M,0").output().unwrap();
    assert!(String::from_utf8(told.stdout).unwrap().contains("\nwith     QGEMM_CACHES=48K,2M,0\n"));
    // `--case` describes a case, and gives equal output each time.
    let case = |index: u32| {
        let out = files.run(&format!("verify --seed 7 --case {index} --kernel scalar")).ok();
        out.lines()
            .filter(|line| !line.starts_with("time "))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    assert!(case(3).contains("case 3\n  shape    M="), "{}", case(3));
    assert_eq!(case(3), case(3));
    assert_ne!(case(3).replace("case 3", ""), case(4).replace("case 4", ""));
    // Products with weights by groups are among the cases.
    assert!((0..20).any(|index| case(index).contains(" bits in groups of ")));
    for (argument, value) in
        [("--seconds", "-1"), ("--seconds", "x"), ("--seconds", "nan"), ("--seed", "x"), ("--case", "-1")]
    {
        files.run(&format!("verify {argument} {value}")).refused(argument);
    }
}

#[test]
fn bench() {
    let files = Files::new();
    let variants = "u8s8s32,s8s8s32,u8s8u8_zp,s8s8s8_zp,u8s8s32_dynb,s8s8s32_dynb,pack,f32_dynamic,\
                    u8s8s32_acol,u8s8s32_ccol,u8s8s32_gather,u8s8u8_zp_ccol,f32_dynamic_acol,\
                    w4g32,w4g64,w4g128,w8g32,w8g64,w8g128,w4g32_row,w4g64_row,w4g128_row,w8g32_row,w8g64_row,\
                    w8g128_row";
    let kernels = ["--kernel all", "--kernel scalar", "--kernel scalar-g1x1"];
    for options in ["", "--threads 2", "--caller pool", "--caller plain --threads 3"].iter().chain(&kernels) {
        let line = format!("bench --quick --csv --shapes 7,33,19;1,70,65 --variants {variants} {options}");
        let out = files.run(&line).ok();
        let mut lines = out.lines();
        assert_eq!(
            lines.next(),
            Some("peer,version,isa,threads,m,k,n,variant,seconds,gmacs,exact,median,caller,limit,share")
        );
        let rows: Vec<Vec<_>> = lines.map(|line| line.split(',').collect()).collect();
        let (limits, ours): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row[0] == "limit");
        for row in &rows {
            assert_eq!(row.len(), 15, "{row:?}");
            assert_eq!(row[1], env!("CARGO_PKG_VERSION"));
            assert_eq!(row[3], options.split("--threads ").nth(1).unwrap_or("1"));
            assert!(row[8].parse::<f64>().unwrap() > 0.0 && row[9].parse::<f64>().unwrap() > 0.0, "{row:?}");
        }
        for row in limits {
            assert_eq!(row[4..7], ["0", "0", "0"]);
            assert!(["peak", "read_bw"].contains(&row[7]) && row[10] == "n/a", "{row:?}");
        }
        assert!(ours.len() >= 50, "{out}");
        for row in ours {
            assert_eq!((row[0], row[10]), ("qgemm", "exact"));
            assert!(row[11].parse::<f64>().unwrap() >= row[8].parse().unwrap(), "{row:?}");
            assert_eq!(row[12], if *options == "--caller pool" { "pool" } else { "plain" });
            // These shapes fit the first-level cache, so that multiply-adds alone bound them, if their peak is known.
            // Weights of 4 bits have another peak without VNNI.
            let by_groups = row[7].starts_with('w');
            let no_vnni =
                row[7].starts_with("w4") && ["avx2-", "avx512bw-"].iter().any(|isa| row[2].starts_with(isa));
            let bounded = row[7] != "pack" && !row[2].starts_with("scalar") && !no_vnni;
            let bound = row[13] == "peak" && row[14].parse::<f64>().is_ok_and(|share| share > 0.0);
            assert!(if bounded { bound } else { row[13..] == ["n/a"; 2] }, "{row:?}");
            assert_eq!(row[2].contains("-g"), by_groups, "{row:?}");
            assert!(row[2].contains('x') && variants.contains(row[7]), "{row:?}");
            assert!(
                [["7", "33", "19"], ["1", "70", "65"]].iter().any(|shape| row[4..7] == shape[..]),
                "{row:?}"
            );
        }
    }
    files.write_bytes("shapes.txt", b"2 3 4\n\n5 6 7\n");
    let out = files.run("bench --quick --shapes shapes.txt --variants u8s8s32").ok();
    assert!(out.contains("2x3x4") && out.contains("5x6x7") && out.contains("GMAC/s"), "{out}");
    let out = files.run("bench --quick --shapes layouts").ok();
    assert!(out.contains("1024x1024x1024") && out.contains("f32_dynamic_acol"), "{out}");
}

#[test]
fn bench_as_json() {
    let files = Files::new();
    let line = "bench --csv --quick --shapes 7,33,19;1,70,65 --variants u8s8s32,pack,w4g32 --threads 2 --json out.json";
    let out = files.run(line).ok();
    let text = std::fs::read_to_string(files.path("out.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(results["format"], "qgemm-bench-1");
    let run = &results["run"];
    assert_eq!((&run["threads"], &run["caller"], &run["quick"]), (&json!(2), &json!("plain"), &json!(true)));
    // One call tells nothing of a disturbance.
    assert!(run["disturbed"].is_null() && run["seconds"].as_f64().unwrap() > 0.0, "{run}");
    let date = run["date"].as_str().unwrap();
    assert!(date.len() == 20 && date.starts_with("20") && date.ends_with('Z'), "{date}");
    let build = &results["build"];
    assert_eq!(build["version"], env!("CARGO_PKG_VERSION"));
    assert!(build["compiler"].as_str().unwrap().starts_with("rustc "), "{build}");
    assert!(build["target"].as_str().unwrap().contains(std::env::consts::ARCH), "{build}");
    let machine = &results["machine"];
    let info: serde_json::Value = serde_json::from_str(&files.run("info --json").ok()).unwrap();
    for field in ["cpu", "caches", "cores", "arch"] {
        assert!(!machine[field].is_null() && machine[field] == info[field], "{field}: {machine} {info}");
    }
    // The cases and limits are those of the table.
    let lines = out.lines().skip(1).map(|line| line.split(',').collect());
    let (limits, cases): (Vec<Vec<_>>, Vec<Vec<_>>) = lines.partition(|row: &Vec<_>| row[0] == "limit");
    let in_json = |list: &str| results[list].as_array().unwrap().clone();
    assert_eq!(
        (in_json("limits").len(), in_json("cases").len(), cases.len()),
        (limits.len(), cases.len(), 6)
    );
    for (case, row) in in_json("cases").iter().zip(&cases) {
        for (field, at) in [("library", 0), ("version", 1), ("kernel", 2), ("variant", 7)] {
            assert_eq!(case[field], row[at], "{field}: {case}");
        }
        for (field, at) in [("m", 4), ("k", 5), ("n", 6)] {
            assert_eq!(case[field].to_string(), row[at], "{field}: {case}");
        }
        let number = |field: &str| case[field].as_f64().unwrap();
        assert_eq!(format!("{:.6e}", number("least")), row[8]);
        assert!(number("least") <= number("median") && number("median") <= number("ninth"), "{case}");
        assert_eq!(
            (&case["batches"], &case["calls"], &case["exact"], &case["error"]),
            (&json!(1), &json!(1), &json!(true), &json!(0.0))
        );
        assert_eq!(case["limit"].as_str().unwrap_or("n/a"), row[13]);
    }
    for (limit, row) in in_json("limits").iter().zip(&limits) {
        assert_eq!(limit["name"], row[2]);
        assert_eq!(format!("{:.4}", limit["rate"].as_f64().unwrap()), row[9]);
        assert!(limit["rate_after"].is_null() && limit["kind"] != "");
    }
}

/// Whether a peak changed is told where it was measured before and after.
#[test]
fn a_disturbed_run_says_so() {
    let files = Files::new();
    files.run("bench --csv --shapes 16,16,16 --variants u8s8s32 --json out.json").ok();
    let results: serde_json::Value =
        serde_json::from_slice(&std::fs::read(files.path("out.json")).unwrap()).unwrap();
    let limits = results["limits"].as_array().unwrap();
    let peaks = limits.iter().filter(|limit| limit["kind"] == "peak");
    let changes: Vec<_> = peaks
        .map(|peak| peak["rate_after"].as_f64().unwrap() / peak["rate"].as_f64().unwrap() - 1.0)
        .collect();
    let disturbed = changes.iter().any(|change| change.abs() > 0.03);
    // Some CPUs have no probe of a peak.
    assert_eq!(results["run"]["disturbed"], if changes.is_empty() { json!(null) } else { json!(disturbed) });
    let case = &results["cases"][0];
    assert!(limits.iter().any(|limit| limit["kind"] == "call"), "{limits:?}");
    assert!(["call", "peak"].iter().any(|limit| case["limit"] == *limit), "{case}");
    assert!(case["batches"].as_u64().unwrap() >= 5 && case["calls"].as_u64().unwrap() > 1, "{case}");
}

/// oneDNN beside qgemm, if the system has it; with the environment variable QGEMM_REQUIRE_ONEDNN it must.
#[test]
fn bench_compares() {
    let files = Files::new();
    let line = "bench --compare --csv --quick --shapes 7,33,19;1,70,65 --threads 2 --json out.json";
    let ran = files.run(line);
    if ran.code == Some(2) && std::env::var_os("QGEMM_REQUIRE_ONEDNN").is_none() {
        let refused = ran.refused("--compare: was 'given'");
        println!("not tested: {refused}");
        return;
    }
    let out = ran.ok();
    let of_peer: Vec<Vec<_>> = out
        .lines()
        .filter(|line| line.starts_with("oneDNN,"))
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(of_peer.len(), 8, "{out}");
    for row in of_peer {
        assert_eq!((row.len(), row[3], row[12]), (15, "2", "plain"));
        assert!(row[1].starts_with(['2', '3']) && row[8].parse::<f64>().unwrap() > 0.0, "{row:?}");
        // Before VNNI it saturates sums of pairs.
        assert!(row[10] == "exact" || row[10].starts_with("maxerr="), "{row:?}");
    }
    let text = std::fs::read_to_string(files.path("out.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = results["cases"].as_array().unwrap();
    assert_eq!(cases.iter().filter(|case| case["library"] == "oneDNN").count(), 8);
    assert_eq!(cases.iter().filter(|case| case["library"] == "qgemm").count(), 8);
}

/// `QGEMM_VERBOSE=1` prints a line for each call to standard error, and nothing changes on standard output.
#[test]
fn verbose() {
    let run = |value: &str, line: &str| {
        let output = command().args(line.split(' ')).env("QGEMM_VERBOSE", value).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let line =
        "bench --quick --csv --shapes 7,33,19 --variants u8s8s32,s8s8s32_dynb,s8s8s8_zp,f32_dynamic,w4g32";
    let (code, out, err) = run("1", line);
    assert_eq!(code, Some(0), "{err}");
    let mut lines = err.lines();
    assert_eq!(lines.next(), Some("qgemm,call,a,b,c,stage,kernel,blocks,threads,microseconds"));
    let rows: Vec<Vec<_>> = lines.map(|line| line.split(',').collect()).collect();
    for row in &rows {
        assert!(row.len() == 10 && row[0] == "qgemm", "{row:?}");
        assert!(row[9].parse::<f64>().unwrap() > 0.0, "{row:?}");
    }
    let has = |fields: [&str; 5]| rows.iter().any(|row| row[1..6] == fields);
    assert!(has(["gemm", "u8 7x33", "i8 33x19 packed", "i32 7x19", ""]), "{err}");
    assert!(has(["gemm", "i8 7x33", "i8 33x19 in place", "i32 7x19", ""]), "{err}");
    assert!(
        has(["gemm", "i8 7x33", "i8 33x19 packed", "8-bit 7x19", "a_zero 7 scale per column c_zero -3"]),
        "{err}"
    );
    assert!(has(["quantize", "f32 7x33", "", "i8 7x33", "one scale per row"]), "{err}");
    let groupwise =
        ["groupwise", "f32 7x33 PerRowAndGroup", "4-bit 33x19 groups of 32", "f32 7x19", "one scale"];
    assert!(has(groupwise), "{err}");
    assert_eq!(out.lines().filter(|line| line.starts_with("qgemm,0")).count(), 5, "{out}");
    for off in ["0", ""] {
        assert_eq!(run(off, line).2, "");
    }
    let (code, _, err) = run("loud", line);
    assert_eq!((code, err.as_str()), (Some(2), "error: QGEMM_VERBOSE: was 'loud', must be 0 or 1\n"));
}

#[test]
fn bench_refuses() {
    let files = Files::new();
    for path in ["nowhere/out.json", ".", "out.json/"] {
        files.run(&format!("bench --shapes 4096,4096,4096 --json {path}")).refused("--json: was '");
    }
    assert!(files.names().is_empty());
    files.write_bytes("empty.txt", b"\n");
    for shapes in ["1,2", "0,1,1", "x,y,z", "1,2,3;;4", "missing.txt", "empty.txt", "-1,2,3", "."] {
        files.run(&format!("bench --csv --shapes {shapes}")).refused("--shapes: was '");
    }
    for huge in ["1000000000,1000000000,1", "4294967296,4294967296,4294967296", "1,99999999999999999999,1"] {
        files.run(&format!("bench --quick --csv --shapes {huge}")).refused("--shapes");
    }
    files.run("bench --csv --shapes 1,1,1 --caller nobody").refused("--caller");
    files.run("bench --csv --shapes 1,1,1 --threads 0").refused("--threads: was '0'");
    files.run("bench --csv --shapes 1,1,1 --threads 99999999").refused("--threads: was '99999999'");
    files.run("bench --csv --shapes 1,1,1 --variants u8s8s32,nonesuch").refused("--variants: was '");
}

/// A reader that closes the pipe early, as in `qgemm bench --csv | head -1`, is no error.
#[test]
fn broken_pipe() {
    for line in ["bench --csv --quick --shapes 8,8,8", "forward", "digits", "verify --seconds 0", "info"] {
        let mut child =
            command().args(line.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        // The reader is dropped: the pipe is closed.
        let out = child.wait_with_output().unwrap();
        let err = String::from_utf8(out.stderr).unwrap();
        assert_eq!((out.status.code(), err.as_str()), (Some(0), ""), "{line}");
    }
}

#[test]
fn digits() {
    let files = Files::new();
    let out = files.run("digits --out logits.npy").ok();
    let correct = |name: &str| -> i32 {
        let line = out.lines().find(|line| line.trim_start().starts_with(name)).expect("a line for each");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let (float, int8, int4) = (correct("float"), correct("int8"), correct("int4"));
    // The logits in 4 bits are the same everywhere, as their digest below.
    assert_eq!((float, int4), (888, 885));
    assert!((float - int8).abs() <= 4, "{out}"); // half a point of 899
    // The written logits give the printed number of correct images.
    let labels = include_bytes!("../../../examples/digits/data/labels.npy");
    let labels = &labels[labels.len() - 899..];
    let logits = files.read::<i8>("logits.npy", (899, 10));
    let best = |row: &[i8]| (1..10).fold(0, |best, j| if row[j] > row[best] { j } else { best });
    let right = logits.chunks(10).zip(labels).filter(|(row, label)| best(row) == usize::from(**label));
    assert_eq!(right.count() as i32, int8);
    // The digests of all kernels are equal.
    let digests = |heading: &str| -> Vec<String> {
        let lines = out.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
        let lines = lines.take_while(|line| line.starts_with("  "));
        lines.map(|line| line.split_whitespace().nth(1).unwrap().to_string()).collect()
    };
    let (int8, int4) = (digests("Digest of the int8 logits"), digests("Digest of the int4 logits"));
    for digests in [&int8, &int4] {
        assert!(digests.len() >= 2 && digests.iter().all(|digest| *digest == digests[0]), "{out}");
    }
    // The ranges that int8 is calibrated with come from f32 products of another library. Those in 4 bits need none.
    assert_eq!(int4[0], "51a7bafec255bbfc");
    files.run("digits --out no/such/file.npy").refused("--out");
}
