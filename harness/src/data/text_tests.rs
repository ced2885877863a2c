use super::super::lines::LONGEST_LINE;
use super::*;

/// What a file of these bytes holds: names, numbers a row, rows.
fn table(content: impl AsRef<[u8]>, delimiter: Delimiter, header: Header) -> Result<Table, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, content).unwrap();
    let format = TextFormat { delimiter, header, loose: false };
    read(&path, format, |fields, out| numbers(fields, out)).map_err(|error| error.to_string())
}

const COMMA: Delimiter = Delimiter::Is(b',');

fn csv(content: impl AsRef<[u8]>) -> Result<Table, String> {
    table(content, COMMA, Header::Auto)
}

fn refusal(content: impl AsRef<[u8]>) -> String {
    csv(content).unwrap_err()
}

#[test]
fn text_may_have_a_header_and_must_be_a_rectangle() {
    let expected = Samples { dim: 2, values: vec![1.0, 2.0, 3.0, -4e-1] };
    let numbers = |text: &str, delimiter| table(text, delimiter, Header::Auto).map(|table| table.samples);
    assert_eq!(numbers("a,b\n1,2\n3, -4e-1\n", COMMA), Ok(expected.clone()));
    assert_eq!(numbers("1  2\n 3\t-0.4\n", Delimiter::Blanks), Ok(expected.clone()));
    for text in ["1,2\n3,-0.4", "1;2\n3;-0.4", "1\t2\n3\t-0.4", "1 2\n3 -0.4", "# x, y\n1 2\n3 -0.4"] {
        assert_eq!(numbers(text, Delimiter::Guessed), Ok(expected.clone()), "{text}");
    }
    assert!(refusal("1,2\n3\n").contains("line 1 has 2 fields, line 2 has 1"));
    assert!(refusal("a,b\n").contains("no row of numbers"));
    assert!(refusal("").contains("is empty"));
    assert!(
        refusal("temperature\n0,125\n").contains("the header has 1 field, line 2 has 2; numbers have decimal points")
    );
    assert!(refusal("a,b,c,d,e\n1,2,3\n").contains("the header has 5 fields, line 2 has 3"));
    assert!(refusal("1,2\n3,4,\n").contains("line 1 has 2 fields, line 2 has 3"));
}

#[test]
fn a_first_row_with_a_bad_field_is_no_header() {
    for (first, part) in [
        ("NA,1,2", "`NA` is not a number"),
        (",1,2", "a field is empty"),
        ("NA,,?", "--header yes"),
        ("1.2.3,0x10,5px", "`1.2.3` is not a number"),
        ("1;2,3,4", "`1;2` is not a number; commas separate"),
    ] {
        let error = refusal(format!("{first}\n1,2,3\n"));
        assert!(error.contains(&format!("line 1: {part}")) || error.contains(part), "{first}: {error}");
        assert!(error.contains("line 1"), "{error}");
    }
    for names in ["a,b,c", ",a,b", "1st,b,c", "\"x\ny\",b,c", "inflow,nano,e1"] {
        let table = csv(format!("{names}\n1,2,3\n")).unwrap();
        assert_eq!((table.names.len(), table.samples.values), (3, vec![1.0, 2.0, 3.0]), "{names}");
    }
    assert_eq!(csv("a,\"say \"\"b\"\"\"\n1,2\n").unwrap().names, ["a", "say \"b\""]);
}

#[test]
fn what_the_header_is_can_be_said() {
    let named = table("0,1\n2,3\n", COMMA, Header::Yes).unwrap();
    assert_eq!((named.names, named.samples.values), (vec!["0".into(), "1".into()], vec![2.0, 3.0]));
    assert_eq!(table("0,1\n2,3\n", COMMA, Header::No).unwrap().samples.count(), 2);
    assert!(table("a,b\n2,3\n", COMMA, Header::No).unwrap_err().contains("line 1: `a` is not a number"));
    assert!(
        refusal("one\ntwo\n3\n")
            .contains("line 2: `two` is not a number (field 1); only the first line may be a header")
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::fs::write(&path, "# a\nx y z\n1 2\n").unwrap();
    let format = TextFormat { delimiter: Delimiter::Blanks, header: Header::Auto, loose: true };
    let loose = read(&path, format, |fields, out| numbers(fields, out)).unwrap();
    assert_eq!((loose.samples.values, loose.comments), (vec![1.0, 2.0], 1));
}

#[test]
fn lines_are_counted_as_the_file_has_them() {
    let lines = [
        ("a,b\n\n\n\n1,2\n  \n \t\n1,oops\n", 8),
        ("a,b\r\n1,2\r\n\r\n1,oops\r\n", 4),
        ("a,b\r1,2\r1,oops", 3),
        ("\"a\n\nx\",b\n1,2\n1,oops", 5),
        ("# one\n# two\n1,2\n1,oops", 4),
        ("\u{feff}a,b\n1,2\n1,oops", 3),
    ];
    for (text, line) in lines {
        let error = refusal(text);
        assert!(error.contains(&format!("line {line}: `oops` is not a number (field 2)")), "{text:?}: {error}");
    }
    assert_eq!(csv("\u{feff}1,2\n   \n\n3,4\n").unwrap().samples.count(), 2);
    // A line of tabs is a row of nothing where tabs separate.
    assert!(table("1\t2\n\t\n", Delimiter::Is(b'\t'), Header::Auto).unwrap_err().contains("line 2: a field is empty"));
}

#[test]
fn a_field_that_is_no_finite_number_is_named_in_a_few_characters() {
    let long = "x".repeat(100_000);
    for (field, part) in [
        ("nan", "`nan` is not a finite number"),
        ("-inf", "`-inf` is not a finite number"),
        ("1e400", "`1e400` is beyond f64"),
        ("0x1F", "`0x1F` is not a number"),
        ("\u{1b}[2J", "`\\x1b[2J` is not a number"),
        ("\"1\n2\"", "`1\\n2` is not a number"),
        ("", "a field is empty"),
        (&long, "xxx…` is not a number"),
    ] {
        let error = refusal(format!("1,2\n3,{field}\n"));
        assert!(error.contains("line 2: ") && error.contains(part) && error.len() < 300, "{error}");
    }
}

#[test]
fn quotes_belong_to_fields_and_must_be_closed() {
    assert_eq!(csv("\"1\",\" 2\"\n\"3\" , 4\n").unwrap().samples.values, [1.0, 2.0, 3.0, 4.0]);
    assert!(refusal("1,5\"\n").contains("`5\"` is not a number"));
    let rest = "1,2\n".repeat(10_000);
    let error = refusal(format!("a,b\n1,\"2\n{rest}"));
    assert!(error.contains("line 2: a quote is not closed: `1,\"2") && error.len() < 300, "{error}");
    let error = refusal(format!("a,b\n1,\"2\n{}", "1,2\n".repeat(LONGEST_LINE / 4)));
    assert!(error.contains("line 2: a quote is not closed"), "{error}");
    assert!(refusal("1,".repeat(LONGEST_LINE / 2 + 1)).contains("line 1 has more than 16 MiB"));
}

#[test]
fn what_is_no_text_is_said() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for (bytes, part) in [
        (utf16("\u{feff}1,2\n"), "UTF-16: save it as UTF-8"),
        (utf16("1,2\n"), "UTF-16"),
        (b"\xfe\xff\0a\0\n".to_vec(), "UTF-16"),
        (b"\x1f\x8b\x08".to_vec(), ".gz"),
        (b"PK\x03\x04...".to_vec(), "spreadsheet"),
        (b"1,\xff\n".to_vec(), "line 1"),
    ] {
        let error = refusal(&bytes);
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_first_sample_is_not_taken_for_names() {
    let rows = "\\N,\\N|(null),<NA>|.,--|*,*|unknown,n.a.|\u{2212}1.5,\u{2212}2|\u{20ac}1.5,$2|\
                (1.5),[2]|'1.5','2'|~1.5,<2.5|1.5 %,a|bad,bad|a,(1.5)|1'000,1_000";
    for row in rows.split('|') {
        let error = refusal(format!("{row}\n1,2\n"));
        assert!(error.contains("line 1: ") && error.contains("is not a number"), "{row}: {error}");
        assert!(error.contains("--header yes"), "{row}: {error}");
    }
    assert!(refusal("id,2019,2020\n1,2,3\n").contains("`id` is not a number (field 1); if this line names"));
    for names in ["a,b", "\u{3b1},\u{3b2}", "x (m),y [%]", "x,x2", "N,\\N", "\u{3b1}1,\u{3b2}2"] {
        assert_eq!(csv(format!("{names}\n1,2\n")).unwrap().names.len(), 2, "{names}");
    }
    assert!(refusal("a,b\n1,2,3\n").contains("row.names = FALSE"));
}

#[test]
fn a_row_behind_a_hash_is_not_left_out() {
    for error in ["#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!", " #n/a"] {
        let told = refusal(format!("1,2\n{error},3\n4,5\n"));
        assert!(told.contains("line 2: `#") && told.contains("a spreadsheet"), "{told}");
        assert!(refusal(format!("{error},3\n4,5\n")).contains("line 1: `#"));
    }
    for row in ["#3,4", "# 3, 4", "##3,4"] {
        assert!(refusal(format!("1,2\n{row}\n5,6\n")).contains("line 2: a row behind #"), "{row}");
    }
    assert_eq!(csv("a\n#\n# 7\n1\n").unwrap().comments, 2);
    assert_eq!(csv("# 1,2\n1,2\n# a,b\n#\n# 3\n5,6\n").unwrap().comments, 4);
}

#[test]
fn an_archive_and_zero_bytes_are_no_text() {
    let mut tar = vec![0; 512];
    tar[..5].copy_from_slice(b"a.csv");
    tar[257..262].copy_from_slice(b"ustar");
    assert!(refusal([&tar[..], b"1,2\n"].concat()).contains("tar archive"));
    assert!(refusal([&[0; 64][..], b"1,2\n"].concat()).contains("zero bytes"));
    assert!(refusal(b"1,2\n3,4\n\0\0\0\0").contains("line 3"));
}
