//! The paths that a file mentions: in `use` trees, in code, and in the tokens of macros and attributes.

use super::modules::Tree;
use super::sources::{attributes, is_test};
use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, ItemMod, ItemUse, Path, UseTree, VisRestricted};

/// A path of two or more names, or one that a `use` brings in.
pub struct Mention {
    /// The module that it stands in, by number.
    pub module: usize,
    pub line: usize,
    /// The names of the path. The last one is `*` where all of a module is imported.
    pub names: Vec<String>,
    /// The name that a `use` gives it.
    pub alias: Option<String>,
}

impl Mention {
    /// The path, written in one piece.
    pub fn path(&self) -> String {
        self.names.join("::")
    }
}

/// All paths in the files of the crate, except in code that only tests have.
pub fn mentions(tree: &Tree) -> Vec<Mention> {
    let mut collector = Collector { tree, module: 0, mentions: Vec::new() };
    for (module, syntax) in tree.files.values() {
        if !tree.modules[*module].test {
            collector.module = *module;
            collector.visit_file(syntax);
        }
    }
    collector.mentions
}

struct Collector<'t> {
    tree: &'t Tree,
    /// The module that is being read.
    module: usize,
    mentions: Vec<Mention>,
}

impl Collector<'_> {
    fn add(&mut self, names: Vec<String>, at: &Ident, alias: Option<String>) {
        if names.len() > 1 || alias.is_some() {
            let line = at.span().start().line;
            self.mentions.push(Mention { module: self.module, line, names, alias });
        }
    }

    fn add_use(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_use(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(tree, before)),
            UseTree::Name(name) if name.ident == "self" => {
                self.add(before.to_vec(), &name.ident, before.last().cloned());
            }
            UseTree::Name(name) => self.add(with(&name.ident), &name.ident, Some(name.ident.to_string())),
            UseTree::Rename(renamed) => {
                let names = if renamed.ident == "self" && !before.is_empty() {
                    before.to_vec()
                } else {
                    with(&renamed.ident)
                };
                self.add(names, &renamed.ident, Some(renamed.rename.to_string()));
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                let names = [before, &["*".to_owned()]].concat();
                self.mentions.push(Mention { module: self.module, line, names, alias: None });
            }
        }
    }

    /// Finds the paths among tokens that syn does not parse.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut i = 0;
        while i < tokens.len() {
            match &tokens[i] {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(first) if starts_path(&tokens[..i], first) => {
                    i = self.scan_path(&tokens, i, first);
                    continue;
                }
                _ => {}
            }
            i += 1;
        }
    }

    /// Reads the path that starts at token `start`; returns the number of the token behind it.
    fn scan_path(&mut self, tokens: &[TokenTree], start: usize, first: &Ident) -> usize {
        let mut names = vec![first.to_string()];
        let mut i = start + 1;
        while let [one, two, next, ..] = &tokens[i..]
            && is_mark(one, ':')
            && is_mark(two, ':')
        {
            match next {
                TokenTree::Ident(name) => names.push(name.to_string()),
                TokenTree::Punct(mark) if mark.as_char() == '*' => names.push("*".to_owned()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    if let Ok(tree) = syn::parse2::<UseTree>(next.clone().into()) {
                        self.add_use(&tree, &names);
                    }
                    return i + 3;
                }
                _ => break,
            }
            i += 3;
        }
        self.add(names, first, None);
        i
    }
}

/// Whether `name`, behind the tokens `before`, is the first of a path: not behind `::` or a single `.`, and
/// behind `$` only as `$crate`.
fn starts_path(before: &[TokenTree], name: &Ident) -> bool {
    match before {
        [.., one, two] if is_mark(one, ':') && is_mark(two, ':') => false,
        [.., one, two] if is_mark(one, '.') && is_mark(two, '.') => true,
        [.., last] if is_mark(last, '.') => false,
        [.., last] if is_mark(last, '$') => name == "crate",
        _ => true,
    }
}

fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, method: &'ast ImplItemFn) {
        if !is_test(&method.attrs) {
            visit::visit_impl_item_fn(self, method);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let outside = self.module;
        if let Some(&inside) = self.tree.modules[outside].children.get(&item.ident.to_string()) {
            self.module = inside;
        }
        visit::visit_item_mod(self, item);
        self.module = outside;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.add_use(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if let (true, Some(first)) = (path.leading_colon.is_none(), path.segments.first()) {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.add(names, &first.ident, None);
        }
        visit::visit_path(self, path);
    }

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.scan(tokens.clone());
    }

    /// `pub(in crate::x)` imports nothing.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}
