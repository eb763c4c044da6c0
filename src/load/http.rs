//! An HTTP/1.1 message as it comes in: head, then body, piece by piece and without copying.

use std::mem;

/// Longest head that is read.
const HEAD: usize = 64 * 1024;

/// The body of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes to come.
    Length(u64),
    Chunked(Chunked),
    /// Until the connection closes.
    ToEnd,
}

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunked {
    /// In the digits of a size; `extension` once they are over.
    Size {
        size: u64,
        digits: u8,
        extension: bool,
    },
    Data(u64),
    /// Before the line end after a chunk.
    AfterData,
    /// In the lines after the last chunk; `empty` while the line at hand has no byte.
    Trailer {
        empty: bool,
    },
    Done,
}

const SIZE: Chunked = Chunked::Size { size: 0, digits: 0, extension: false };

impl Body {
    /// Of a message with these headers; `otherwise` where they do not say.
    pub(super) fn of(headers: &[httparse::Header<'_>], otherwise: Body) -> Result<Body, String> {
        let chunked = |h: &httparse::Header<'_>| {
            h.name.eq_ignore_ascii_case("transfer-encoding")
                && h.value.to_ascii_lowercase().ends_with(b"chunked")
        };
        if headers.iter().any(chunked) {
            return Ok(Body::Chunked(SIZE));
        }
        let Some(length) = header(headers, "content-length") else { return Ok(otherwise) };
        let number = std::str::from_utf8(length).ok().and_then(|t| t.trim().parse().ok());
        number.map(Body::Length).ok_or_else(|| "the content length is no number".into())
    }

    pub(super) fn done(&self) -> bool {
        matches!(self, Body::Length(0) | Body::Chunked(Chunked::Done))
    }

    /// Consumes what belongs to the body and gives its pieces to `piece`; returns the bytes after the body.
    pub(super) fn push<'a>(
        &mut self,
        bytes: &'a [u8],
        mut piece: impl FnMut(&[u8]),
    ) -> Result<&'a [u8], String> {
        match self {
            Body::ToEnd => {
                piece(bytes);
                Ok(&[])
            }
            Body::Length(left) => {
                let (mine, rest) =
                    bytes.split_at(bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
                *left -= mine.len() as u64;
                if !mine.is_empty() {
                    piece(mine);
                }
                Ok(rest)
            }
            Body::Chunked(state) => state.push(bytes, piece),
        }
    }
}

impl Chunked {
    fn push<'a>(&mut self, mut bytes: &'a [u8], mut piece: impl FnMut(&[u8])) -> Result<&'a [u8], String> {
        while let (false, Some((&first, rest))) = (*self == Chunked::Done, bytes.split_first()) {
            if let Chunked::Data(left) = *self {
                let (mine, after) =
                    bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                piece(mine);
                bytes = after;
                let left = left - mine.len() as u64;
                *self = if left == 0 { Chunked::AfterData } else { Chunked::Data(left) };
                continue;
            }
            bytes = rest;
            *self = self.step(first)?;
        }
        Ok(bytes)
    }

    /// One byte outside of the data.
    fn step(self, byte: u8) -> Result<Chunked, String> {
        Ok(match (self, byte) {
            (Chunked::Size { size, digits, .. }, b'\n') => match (digits, size) {
                (0, _) => return Err("a chunk of the body has no size".into()),
                (_, 0) => Chunked::Trailer { empty: true },
                _ => Chunked::Data(size),
            },
            (Chunked::Size { size, digits, extension: true }, _)
            | (Chunked::Size { size, digits, .. }, b';' | b' ' | b'\t' | b'\r') => {
                Chunked::Size { size, digits, extension: true }
            }
            (Chunked::Size { size, digits, .. }, digit) => match (digit as char).to_digit(16) {
                Some(d) if digits < 15 => {
                    Chunked::Size { size: size * 16 + u64::from(d), digits: digits + 1, extension: false }
                }
                _ => return Err("the size of a chunk of the body is no number".into()),
            },
            (Chunked::AfterData, b'\r') => Chunked::AfterData,
            (Chunked::AfterData, b'\n') => SIZE,
            (Chunked::AfterData, _) => return Err("a chunk of the body is longer than its size".into()),
            (Chunked::Trailer { empty: true }, b'\n') => Chunked::Done,
            (Chunked::Trailer { .. }, b'\n') => Chunked::Trailer { empty: true },
            (Chunked::Trailer { empty }, b'\r') => Chunked::Trailer { empty },
            (Chunked::Trailer { .. }, _) => Chunked::Trailer { empty: false },
            (state @ (Chunked::Data(_) | Chunked::Done), _) => state,
        })
    }
}

pub(super) fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
}

/// What the reader of a response has so far.
#[derive(Debug)]
enum Stage {
    /// The head, as far as it has come.
    Head(Vec<u8>),
    Body {
        status: u16,
        body: Body,
        keep: bool,
    },
}

/// The reader of one response.
#[derive(Debug)]
pub(super) struct Response {
    stage: Stage,
    /// Bytes came after the end of the response.
    excess: bool,
}

impl Response {
    pub(super) fn new() -> Response {
        Response { stage: Stage::Head(Vec::new()), excess: false }
    }

    /// Once the head is complete.
    pub(super) fn status(&self) -> Option<u16> {
        match self.stage {
            Stage::Head(_) => None,
            Stage::Body { status, .. } => Some(status),
        }
    }

    pub(super) fn done(&self) -> bool {
        matches!(self.stage, Stage::Body { body, .. } if body.done())
    }

    /// A body without a stated end is complete when the connection closes.
    pub(super) fn done_at_end(&self) -> bool {
        matches!(self.stage, Stage::Body { body: Body::ToEnd, .. }) || self.done()
    }

    /// Whether the connection can carry another request.
    pub(super) fn reusable(&self) -> bool {
        matches!(self.stage, Stage::Body { keep: true, .. }) && self.done() && !self.excess
    }

    /// Consumes one read; `piece` gets the status and the pieces of the body.
    pub(super) fn push(&mut self, bytes: &[u8], mut piece: impl FnMut(u16, &[u8])) -> Result<(), String> {
        let head = match &mut self.stage {
            Stage::Body { status, body, .. } => {
                let status = *status;
                self.excess |= !body.push(bytes, |b| piece(status, b))?.is_empty();
                return Ok(());
            }
            Stage::Head(head) => head,
        };
        head.extend_from_slice(bytes);
        let whole = mem::take(head);
        let Some((length, status, body, keep)) = read_head(&whole)? else {
            if whole.len() > HEAD {
                return Err(format!("the head of the answer is longer than {HEAD} bytes"));
            }
            self.stage = Stage::Head(whole);
            return Ok(());
        };
        // `100 Continue` and its like precede the answer itself.
        if status / 100 != 1 {
            self.stage = Stage::Body { status, body, keep };
        }
        self.push(&whole[length..], piece)
    }
}

/// Length of the head, status, body, and whether the connection stays open.
type Head = (usize, u16, Body, bool);

fn read_head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 96];
    let mut head = httparse::Response::new(&mut headers);
    match head.parse(bytes) {
        Err(e) => Err(format!("no HTTP answer: {e}")),
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => {
            let status = head.code.unwrap_or(0);
            let without = status / 100 == 1 || status == 204 || status == 304;
            let body = if without { Body::Length(0) } else { Body::of(head.headers, Body::ToEnd)? };
            let says = |word: &[u8]| {
                header(head.headers, "connection").is_some_and(|v| v.eq_ignore_ascii_case(word))
            };
            let keep = if head.version == Some(1) { !says(b"close") } else { says(b"keep-alive") };
            Ok(Some((length, status, body, keep)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(reads: &[&[u8]]) -> (Option<u16>, Vec<u8>, Response) {
        let (mut response, mut body) = (Response::new(), Vec::new());
        for r in reads {
            response.push(r, |_, piece| body.extend_from_slice(piece)).unwrap();
        }
        (response.status(), body, response)
    }

    #[test]
    fn bodies_of_every_framing() {
        let (status, body, r) = read(&[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", b"lo"]);
        assert_eq!((status, body.as_slice(), r.done(), r.reusable()), (Some(200), &b"hello"[..], true, true));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nt: v\r\n\r\n";
        let (_, body, r) = read(&[chunked]);
        assert_eq!((body.as_slice(), r.reusable()), (&b"abc0123456789"[..], true));
        let (_, body, r) = read(&[b"HTTP/1.0 200 OK\r\n\r\nall ", b"of it"]);
        assert_eq!((body.as_slice(), r.done(), r.done_at_end()), (&b"all of it"[..], false, true));
        let (status, _, r) = read(&[
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        ]);
        assert_eq!((status, r.done(), r.reusable()), (Some(503), true, false));
        let (_, _, r) = read(&[b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"]);
        assert!(r.done() && !r.reusable());
    }

    #[test]
    fn what_is_not_http_is_said_to_be_so() {
        let fails = |bytes: &[u8]| Response::new().push(bytes, |_, _| {}).unwrap_err();
        assert!(fails(b"SSH-2.0-x\r\n\r\n").contains("no HTTP answer"));
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for (bad, why) in [("\r\n", "no size"), ("xyz\r\n", "no number"), ("1\r\nab\r\n", "longer")] {
            assert!(fails(&[&head[..], bad.as_bytes()].concat()).contains(why), "{bad}");
        }
        assert!(fails(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").contains("no number"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// However a chunked answer is cut into reads, its body is the same; nothing panics on any bytes.
        #[test]
        fn cuts_do_not_matter(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in proptest::collection::vec(0usize..600, 0..12),
            noise in proptest::collection::vec(prop_oneof![Just(b'0'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..60),
        ) {
            let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            let head = bytes.len();
            for p in &pieces {
                bytes.extend(format!("{:x}\r\n", p.len()).bytes().chain(p.iter().copied()).chain(*b"\r\n"));
            }
            bytes.extend(b"0\r\n\r\n");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let reads: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            let (_, body, response) = read(&reads);
            prop_assert_eq!(body, pieces.concat());
            prop_assert!(response.reusable());
            let _ = Response::new().push(&[&bytes[..head], &noise].concat(), |_, _| {});
            let _ = Response::new().push(&noise, |_, _| {});
        }
    }
}
