//! Long texts piece by piece.

use std::io::{self, Read};

/// What one piece holds at most.
const MOST: usize = 4 << 20;

/// Pieces of a text, each of whole lines unless a line is longer than a piece: a text of any length takes bounded memory.
#[derive(Debug)]
pub struct Pieces<R> {
    from: R,
    rest: Vec<u8>,
    most: usize,
}

impl<R: Read> Pieces<R> {
    pub fn of(from: R) -> Pieces<R> {
        Pieces { from, rest: Vec::new(), most: MOST }
    }
}

impl<R: Read> Iterator for Pieces<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        let mut piece = std::mem::take(&mut self.rest);
        let room = (self.most - piece.len()) as u64;
        if let Err(e) = self.from.by_ref().take(room).read_to_end(&mut piece) {
            return Some(Err(e));
        }
        if piece.len() == self.most {
            let cut = piece.iter().rposition(|b| *b == b'\n').map_or(piece.len(), |at| at + 1);
            self.rest = piece.split_off(cut);
        }
        (!piece.is_empty()).then_some(Ok(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines_and_nothing_is_lost() {
        let text = b"one\ntwo\nthree is too long for one piece\nfour";
        let pieces = Pieces { from: &text[..], rest: Vec::new(), most: 10 };
        let pieces: Vec<String> = pieces.map(|p| String::from_utf8(p.unwrap()).unwrap()).collect();
        assert_eq!(pieces[..3], ["one\ntwo\n", "three is t", "oo long fo"]);
        assert!(pieces.iter().all(|p| p.len() <= 10));
        assert_eq!(pieces.concat().as_bytes(), text);
    }
}
