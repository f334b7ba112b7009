//! Faults one by one: what a registry, a proxy before it or the line may do to a request,
//! and what is right then.

use std::time::{Duration, SystemTime};

use dlpack::oci::{Digest, media_type};
use dlpack::registry::serve::{Fault, What};

use super::scene::{GREETING, LAYER, MANIFESTS, Place, UPLOADS, layer_path};
use super::{Bounds, Case, Tally, Way};

/// How much of the layer goes at once where it goes in parts.
const PART: u64 = 1_400_000;

pub fn answer(status: u16) -> What {
    What::Answer(status, Vec::new(), Vec::new())
}

pub fn wait(status: u16, retry_after: &str) -> What {
    What::Answer(status, vec![("retry-after", retry_after.to_owned())], Vec::new())
}

pub fn redirect(to: &str) -> What {
    What::Answer(307, vec![("location", to.to_owned())], Vec::new())
}

pub fn on(method: &str, target: &str, what: What) -> Fault {
    Fault::on(method, target, what)
}

fn header(name: &'static str, value: &str) -> What {
    What::Header(name, value.to_owned())
}

/// Runs all of one way at `place`.
pub fn run(place: &Place, way: Way) -> Tally {
    let mut tally = Tally::new(format!("{}: {}", place.name(), if way == Way::Pull { "pulls" } else { "pushes" }));
    for case in all(way) {
        tally.run(place, way, case);
    }
    tally
}

/// All of one way.
fn all(way: Way) -> Vec<Case> {
    match way {
        Way::Pull => [pulls_that_heal(), pulls_that_fail(), slow_pulls()].into_iter().flatten().collect(),
        Way::Push => [pushes_that_heal(), parts(), locations(), mounts(), pushes_that_fail(), slow_pushes()]
            .into_iter()
            .flatten()
            .collect(),
    }
}

fn survived(cases: Vec<(&'static str, Vec<Fault>)>) -> Vec<Case> {
    cases.into_iter().map(|(name, faults)| Case::survived(name, faults)).collect()
}

fn refused(cases: Vec<(&'static str, Fault, &'static str)>) -> Vec<Case> {
    cases.into_iter().map(|(name, fault, error)| Case::refused(name, error, fault)).collect()
}

/// The same with a registry that may not be silent for long.
fn impatient(cases: Vec<Case>) -> Vec<Case> {
    cases.into_iter().map(|case| Case { bounds: case.bounds.impatient(), ..case }).collect()
}

/// A request of the layer's rest, after the first breaks in its middle.
fn resumed(what: What) -> Vec<Fault> {
    let layer = layer_path();
    vec![on("GET", &layer, What::BreakAnswer(LAYER / 2)), on("GET", &layer, what)]
}

pub fn pulls_that_heal() -> Vec<Case> {
    let layer = layer_path();
    let layer = layer.as_str();
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(30));
    let past = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
    survived(vec![
        ("greeting: 503", vec![on("GET", GREETING, answer(503))]),
        ("greeting: no answer", vec![on("GET", GREETING, What::LoseAnswer)]),
        ("manifest: 408", vec![on("GET", MANIFESTS, answer(408))]),
        ("manifest: 500", vec![on("GET", MANIFESTS, answer(500))]),
        ("manifest: 502 thrice", vec![on("GET", MANIFESTS, answer(502)).times(3)]),
        ("manifest: 503 for seconds", vec![on("GET", MANIFESTS, wait(503, "2"))]),
        ("manifest: 429 until a date", vec![on("GET", MANIFESTS, wait(429, &date))]),
        ("manifest: 429 until a date that is over", vec![on("GET", MANIFESTS, wait(429, &past))]),
        ("manifest: 429 with nonsense", vec![on("GET", MANIFESTS, wait(429, "soon"))]),
        ("manifest: 429 with less than nothing", vec![on("GET", MANIFESTS, wait(429, "-1"))]),
        ("manifest: no answer", vec![on("GET", MANIFESTS, What::LoseAnswer)]),
        ("manifest: broken off", vec![on("GET", MANIFESTS, What::BreakAnswer(100))]),
        ("manifest: reset", vec![on("GET", MANIFESTS, What::ResetAnswer(100))]),
        ("blob: 500", vec![on("GET", layer, answer(500))]),
        ("blob: 504", vec![on("GET", layer, answer(504))]),
        ("blob: 429 for seconds", vec![on("GET", layer, wait(429, "1"))]),
        ("blob: 429 until a date", vec![on("GET", layer, wait(429, &date))]),
        ("blob: no answer", vec![on("GET", layer, What::LoseAnswer)]),
        ("blob: broken again and again", vec![on("GET", layer, What::BreakAnswer(100_000)).times(5)]),
        ("blob: reset again and again", vec![on("GET", layer, What::ResetAnswer(100_000)).times(5)]),
        ("blob: too short, and says so", vec![on("GET", layer, What::Shorten(1000))]),
        ("blob: too long, and says so", vec![on("GET", layer, What::Lengthen(1000))]),
        ("blob: Range not seen", resumed(What::IgnoreRange)),
        ("blob: another part", resumed(header("content-range", &format!("bytes 0-9/{LAYER}")))),
        ("blob: a part of another length", resumed(header("content-range", "bytes 1500000-1500009/1500010"))),
        ("blob: a part of nonsense", resumed(header("content-range", "bytes"))),
        ("blob: a part without Content-Range", resumed(What::NoHeader("content-range"))),
        ("blob: a part too short", resumed(What::Shorten(1))),
        ("blob: 416 for a part", resumed(answer(416))),
        ("blob: 500 for a part", resumed(answer(500))),
        // No Accept-Encoding was sent: the bytes are taken as they come, and the digest decides.
        ("blob: said to be compressed", vec![on("GET", layer, header("content-encoding", "gzip"))]),
        ("blob: no length", vec![on("GET", layer, What::NoHeader("content-length"))]),
    ])
}

pub fn pulls_that_fail() -> Vec<Case> {
    let layer = layer_path();
    let layer = layer.as_str();
    let other = Digest::of(b"other").to_string();
    let both = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST, "layers": [], "manifests": [],
        "config": { "mediaType": media_type::CONFIG, "digest": other, "size": 2 },
    });
    let ambiguous =
        What::Answer(200, vec![("content-type", media_type::MANIFEST.into())], both.to_string().into_bytes());
    refused(vec![
        ("greeting: 503 for ever", on("GET", GREETING, answer(503)), "Refused"),
        ("manifest: 503 for ever", on("GET", MANIFESTS, answer(503)), "Refused"),
        ("manifest: 429 for a century", on("GET", MANIFESTS, wait(429, "3155760000")), "AskedToWait"),
        ("manifest: 429 beyond numbers", on("GET", MANIFESTS, wait(429, &"9".repeat(30))), "AskedToWait"),
        ("manifest: 403", on("GET", MANIFESTS, answer(403)), "Refused"),
        ("manifest: 404", on("GET", MANIFESTS, answer(404)), "NotFound"),
        ("manifest: 401 without a challenge", on("GET", MANIFESTS, answer(401)), "Unauthorized"),
        ("manifest: a bit flipped", on("GET", MANIFESTS, What::Flip(40)), "Digest"),
        ("manifest: shortened", on("GET", MANIFESTS, What::Shorten(1)), "Digest"),
        ("manifest: compressed", on("GET", MANIFESTS, What::Gzip), "Digest"),
        ("manifest: another digest announced", on("GET", MANIFESTS, header("docker-content-digest", &other)), "Digest"),
        ("manifest: no digest", on("GET", MANIFESTS, header("docker-content-digest", "sha256:..")), "Header"),
        ("manifest: a web page", on("GET", MANIFESTS, header("content-type", "text/html")), "Manifest"),
        ("manifest: said to be an index", on("GET", MANIFESTS, header("content-type", media_type::INDEX)), "Manifest"),
        ("manifest: no type", on("GET", MANIFESTS, What::NoHeader("content-type")), "Header"),
        ("manifest: layers and manifests", on("GET", MANIFESTS, ambiguous), "Manifest"),
        ("manifest: 5 MiB", on("GET", MANIFESTS, What::Lengthen(5 << 20)), "TooLarge"),
        ("manifest: in circles", on("GET", MANIFESTS, redirect("/v2/team/image/manifests/tag")), "Http"),
        ("blob: 404", on("GET", layer, answer(404)), "NotFound"),
        ("blob: a bit flipped", on("GET", layer, What::Flip(LAYER / 2)), "Digest"),
        ("blob: its last bit flipped", on("GET", layer, What::Flip(LAYER - 1)), "Digest"),
        ("blob: compressed", on("GET", layer, What::Gzip), "Length"),
        ("blob: too short", on("GET", layer, What::Shorten(1)), "Length"),
        ("blob: too long", on("GET", layer, What::Lengthen(1)), "Length"),
        ("blob: broken for ever", on("GET", layer, What::BreakAnswer(0)), "Http"),
    ])
}

/// Each takes as long as a registry may be silent.
pub fn slow_pulls() -> Vec<Case> {
    let layer = layer_path();
    let layer = layer.as_str();
    impatient(survived(vec![
        ("greeting: silence", vec![on("GET", GREETING, What::NoAnswer)]),
        ("manifest: silence", vec![on("GET", MANIFESTS, What::NoAnswer)]),
        ("manifest: byte by byte", vec![on("GET", MANIFESTS, What::Drip(10))]),
        ("blob: silence", vec![on("GET", layer, What::NoAnswer)]),
        ("blob: stands still", vec![on("GET", layer, What::Stall(LAYER / 2))]),
        ("blob: byte by byte", vec![on("GET", layer, What::Drip(LAYER / 2))]),
        ("blob: its rest byte by byte", resumed(What::Drip(0))),
    ]))
}

/// What comes to a session whose first request breaks in its middle.
fn broken(what: Fault) -> Vec<Fault> {
    vec![on("PUT", UPLOADS, What::BreakRequest(LAYER / 2)), what]
}

pub fn pushes_that_heal() -> Vec<Case> {
    let layer = layer_path();
    let layer = layer.as_str();
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(30));
    let challenge = vec![("www-authenticate", "Basic realm=\"registry\"".to_owned())];
    let challenged = |at| What::AnswerAt(at, 401, challenge.clone());
    survived(vec![
        ("blob: HEAD 503", vec![on("HEAD", layer, answer(503))]),
        ("blob: HEAD 429 until a date", vec![on("HEAD", layer, wait(429, &date))]),
        ("mount: 503", vec![on("POST", "mount=", answer(503))]),
        ("mount: 429 for seconds", vec![on("POST", "mount=", wait(429, "3"))]),
        ("mount: no answer", vec![on("POST", "mount=", What::LoseAnswer)]),
        ("upload: 429 for seconds", vec![on("POST", UPLOADS, wait(429, "1"))]),
        ("upload: 429 until a date", vec![on("PUT", UPLOADS, wait(429, &date))]),
        ("upload: 500", vec![on("PUT", UPLOADS, answer(500))]),
        ("upload: 500 in its middle", vec![on("PUT", UPLOADS, What::AnswerAt(LAYER / 2, 500, Vec::new()))]),
        ("upload: 401 in its middle", vec![on("PUT", UPLOADS, challenged(LAYER / 2))]),
        ("upload: broken thrice", vec![on("PUT", UPLOADS, What::BreakRequest(LAYER / 2)).times(3)]),
        ("upload: answer lost after the commit", vec![on("PUT", UPLOADS, What::LoseAnswer)]),
        ("upload: 502 after the commit", vec![on("PUT", UPLOADS, What::LieAnswer(502))]),
        ("upload: session forgotten", vec![on("PUT", UPLOADS, What::ForgetSession)]),
        ("upload: no closing PUT with a body", vec![on("PUT", UPLOADS, answer(405))]),
        ("upload: 416", vec![on("PUT", UPLOADS, answer(416))]),
        ("resumed: state unknown", broken(on("GET", UPLOADS, answer(500)))),
        ("resumed: state too far", broken(on("GET", UPLOADS, header("range", &format!("0-{}", LAYER * 2))))),
        ("resumed: state beyond what came", broken(on("GET", UPLOADS, header("range", &format!("0-{}", LAYER - 2))))),
        ("resumed: state behind what came", broken(on("GET", UPLOADS, header("range", "0-9")))),
        ("resumed: state in nonsense", broken(on("GET", UPLOADS, header("range", "bytes=?")))),
        ("resumed: session forgotten", broken(on("GET", UPLOADS, What::ForgetSession))),
        ("resumed: session forgotten at the end", broken(on("PUT", UPLOADS, What::ForgetSession).after(1))),
        ("manifest: 503", vec![on("PUT", MANIFESTS, wait(503, "1"))]),
        ("manifest: 429 until a date", vec![on("PUT", MANIFESTS, wait(429, &date))]),
        ("manifest: broken", vec![on("PUT", MANIFESTS, What::BreakRequest(10))]),
        ("manifest: reset", vec![on("PUT", MANIFESTS, What::ResetRequest(10))]),
        ("manifest: answer lost after the commit", vec![on("PUT", MANIFESTS, What::LoseAnswer)]),
    ])
}

/// What comes to an upload in parts: PATCH, PATCH, and the rest with the closing PUT.
pub fn parts() -> Vec<Case> {
    let challenge = vec![("www-authenticate", "Basic realm=\"registry\"".to_owned())];
    let challenged = |at| What::AnswerAt(at, 401, challenge.clone());
    let patch = |what| vec![on("PATCH", UPLOADS, what)];
    let second = |what| vec![on("PATCH", UPLOADS, what).after(1)];
    let cases = survived(vec![
        ("part: 503", patch(answer(503))),
        ("part: 429 for seconds", patch(wait(429, "1"))),
        ("part: 401 in its middle", patch(challenged(PART / 2))),
        ("part: 401 at its first byte", patch(challenged(1))),
        ("part: 401 in the middle of the second", second(challenged(PART / 2))),
        ("part: 416", patch(answer(416))),
        ("part: 416 to the second", second(answer(416))),
        ("part: 405", patch(answer(405))),
        ("part: 413", patch(answer(413))),
        ("part: an end of stream", patch(What::BreakRequest(1000))),
        ("part: a reset", patch(What::ResetRequest(1000))),
        ("part: a reset in the second", second(What::ResetRequest(1000))),
        ("part: its answer lost", patch(What::LoseAnswer)),
        ("part: the second one's answer lost", second(What::LoseAnswer)),
        ("part: session forgotten", second(What::ForgetSession)),
        ("part: it stands elsewhere", patch(header("range", "0-9"))),
        ("part: no Range", patch(What::NoHeader("range"))),
        ("part: no Location", patch(What::NoHeader("location"))),
        ("part: session forgotten at the end", vec![on("PUT", UPLOADS, What::ForgetSession)]),
        ("part: 416 at the end", vec![on("PUT", UPLOADS, answer(416))]),
    ]);
    let beyond = on("PATCH", UPLOADS, header("range", &format!("0-{}", 2 * LAYER)));
    let beyond = Case::refused("part: it stands beyond the end", "Header", beyond);
    let silence = impatient(survived(vec![("part: silence", patch(What::NoAnswer))]));
    let cases = cases.into_iter().chain([beyond]).chain(silence);
    cases.map(|case| Case { bounds: Bounds { part: Some(PART), ..case.bounds }, ..case }).collect()
}

/// Wherever an upload is sent, in whatever form, while its first request breaks.
pub fn locations() -> Vec<Case> {
    let everywhere = |what: What| {
        let broken = on("PUT", UPLOADS, What::BreakRequest(LAYER / 2));
        vec![on("POST", UPLOADS, what.clone()).always(), broken, on("GET", UPLOADS, what).always()]
    };
    let with = |before: &str, after: &str| everywhere(What::Location(before.to_owned(), after.to_owned()));
    survived(vec![
        ("location: relative", with("", "")),
        ("location: relative with a query", with("", "?state=a%2Fb")),
        ("location: relative with more in its query", with("", "?state=1&more=2")),
        ("location: relative with an empty query", with("", "?")),
        // RFC 9110 5.3 forbids it; the first one counts.
        ("location: twice", everywhere(What::MoreHeader("location", "/v2/elsewhere/blobs/uploads/0".to_owned()))),
    ])
}

/// Mounts that are declined: the blob is uploaded.
pub fn mounts() -> Vec<Case> {
    let declined = |name: &'static str, what| (name, vec![on("POST", "mount=", what).always()]);
    survived(vec![
        declined("mount: 202 with a session", What::DeclineMount),
        declined("mount: 202 without a session", answer(202)),
        declined("mount: 400", answer(400)),
        declined("mount: 403", answer(403)),
        declined("mount: 404", answer(404)),
        declined("mount: 405", answer(405)),
        declined("mount: 416", answer(416)),
    ])
}

pub fn pushes_that_fail() -> Vec<Case> {
    let other = Digest::of(b"other").to_string();
    let announced = || header("docker-content-digest", &other);
    refused(vec![
        ("upload: 503 for ever", on("POST", UPLOADS, answer(503)), "Refused"),
        ("upload: 403", on("POST", UPLOADS, answer(403)), "Refused"),
        ("upload: 401 without a challenge", on("POST", UPLOADS, answer(401)), "Unauthorized"),
        ("upload: 429 for a century", on("POST", UPLOADS, wait(429, "3155760000")), "AskedToWait"),
        ("upload: 413", on("PUT", UPLOADS, answer(413)), "Refused"),
        ("upload: no Location", on("POST", UPLOADS, What::NoHeader("location")), "Header"),
        ("upload: another digest stored", on("PUT", UPLOADS, announced()), "Stored"),
        ("manifest: another digest stored", on("PUT", MANIFESTS, announced()), "Stored"),
        ("manifest: 400", on("PUT", MANIFESTS, answer(400)), "Refused"),
        ("manifest: 503 for ever", on("PUT", MANIFESTS, answer(503)), "Refused"),
        ("manifest: 429 for a century", on("PUT", MANIFESTS, wait(429, "3155760000")), "AskedToWait"),
    ])
}

/// Each takes as long as a registry may be silent.
pub fn slow_pushes() -> Vec<Case> {
    let layer = layer_path();
    impatient(survived(vec![
        ("blob: HEAD silence", vec![on("HEAD", &layer, What::NoAnswer)]),
        ("mount: silence", vec![on("POST", "mount=", What::NoAnswer)]),
        ("upload: silence", vec![on("PUT", UPLOADS, What::NoAnswer)]),
        ("resumed: state, silence", broken(on("GET", UPLOADS, What::NoAnswer))),
        ("manifest: silence", vec![on("PUT", MANIFESTS, What::NoAnswer)]),
    ]))
}
