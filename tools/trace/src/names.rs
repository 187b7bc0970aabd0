// SPDX-License-Identifier: GPL-2.0

//! Names of functions as one reads them: `iomapfs::ops::file::direct::write`.

/// The name of a function, as the tracer has it. Of a Rust function the path: what is filled in for its parameters is
/// left out, and of the types in it only the last name is left, as is the trait that it implements.
pub fn readable(name: &str) -> String {
    let name = name.split_whitespace().next().unwrap_or(name);
    match rustc_demangle::try_demangle(name) {
        Ok(path) => {
            let path = format!("{path:#}");
            let short = Path { rest: &path }.item(true);
            short
                .replace("rust_iomapfs::", "iomapfs::")
                .replace("iomapfs::linux::", "linux::")
                .replace("iomapfs::ops::", "ops::")
        }
        // A copy that the compiler has made.
        Err(_) => name.split('.').next().unwrap_or(name).to_owned(),
    }
}

/// A path that is read from the front.
struct Path<'a> {
    rest: &'a str,
}

impl Path<'_> {
    /// Takes `what`, if it comes next.
    fn take(&mut self, what: &str) -> bool {
        match self.rest.strip_prefix(what) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes the next name, with braces, as those of a closure, and what stands before a type.
    fn name(&mut self) -> String {
        let mut depth = 0;
        let end = self.rest.find(|c| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0 && "<>,:".contains(c)
        });
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        name.to_owned()
    }

    /// Takes what is between angle brackets, of which the first was taken.
    fn parameters(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while !self.rest.is_empty() && !self.take(">") {
            all.push(self.item(false));
            if !self.take(", ") && !self.rest.starts_with('>') {
                // Something else than a path.
                let end = self
                    .rest
                    .char_indices()
                    .nth(1)
                    .map_or(self.rest.len(), |(at, _)| at);
                self.rest = &self.rest[end..];
            }
        }
        all
    }

    /// Takes a path: all of it, or its last name.
    fn item(&mut self, whole: bool) -> String {
        let mut names: Vec<String> = Vec::new();
        if self.take("<") {
            let first = self.item(whole);
            // `<Type as Trait>`: the type says it.
            let (kind, _) = first.split_once(" as ").unwrap_or((&first, ""));
            names.push(kind.to_owned());
            self.parameters();
        }
        loop {
            if self.take("::<") {
                self.parameters();
            } else if self.take("<") {
                let parameters = self.parameters();
                let name = names.pop().unwrap_or_default();
                names.push(format!("{name}<{}>", parameters.join(", ")));
            } else if self.take("::") || names.is_empty() {
                let name = self.name();
                if name.is_empty() {
                    break;
                }
                // The trait that follows goes with what is between the brackets.
                let (kind, implemented) = name.split_once(" as ").unwrap_or((&name, ""));
                names.push(kind.to_owned());
                if !implemented.is_empty() {
                    self.skip_trait();
                    break;
                }
            } else if self.rest.starts_with(" as ") {
                self.skip_trait();
                break;
            } else {
                break;
            }
        }
        match whole {
            true => names.join("::"),
            false => names.pop().unwrap_or_default(),
        }
    }

    /// Takes the rest up to the bracket that closes.
    fn skip_trait(&mut self) {
        let mut depth = 0;
        let end = self.rest.find(|c| {
            match c {
                '<' => depth += 1,
                '>' => depth -= 1,
                _ => {}
            }
            depth < 0
        });
        self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(path: &str) -> String {
        Path { rest: path }.item(true)
    }

    #[test]
    fn paths_are_short() {
        for (long, expected) in [
            ("a::b::write_iter", "a::b::write_iter"),
            ("a::publish::<a::Store, a::INode<a::Fs>>", "a::publish"),
            (
                "<a::b::Table<a::c::Direct<false>>>::next",
                "a::b::Table<Direct<false>>::next",
            ),
            (
                "<a::Regular as b::Operations>::write_iter",
                "a::Regular::write_iter",
            ),
            (
                "<a::map::FileMap>::choose_for::<b::Store>",
                "a::map::FileMap::choose_for",
            ),
            (
                "a::reserve::<a::Store, a::INode<a::Fs>>::{closure#0}",
                "a::reserve::{closure#0}",
            ),
            (
                "<a::File as b::Trait<c::D, e::F<g::H>>>::go::<i::J>",
                "a::File::go",
            ),
            (
                "<a::Dio<a::Write>>::end_io::<false>",
                "a::Dio<Write>::end_io",
            ),
        ] {
            assert_eq!(short(long), expected, "{long}");
        }
    }

    #[test]
    fn names_of_c_stay() {
        assert_eq!(readable("ext4_map_blocks"), "ext4_map_blocks");
        assert_eq!(readable("ext4_map_blocks [ext4]"), "ext4_map_blocks");
        assert_eq!(readable("submit_bio.part.0"), "submit_bio");
    }
}
