//! The module tree of a crate: its `mod` declarations, followed from the root.

use super::sources::{Sources, attributes, is_test, normalized};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::{Attribute, Expr, ExprLit, ForeignItem, Item, ItemMod, Lit, Meta};

/// A module, in a file of its own or inline.
pub struct Module {
    /// Names from the crate root down; the root has none.
    pub path: Vec<String>,
    /// The file that its items stand in.
    pub file: PathBuf,
    /// The module above, by number; the root has none.
    pub parent: Option<usize>,
    /// The modules below, by name.
    pub children: BTreeMap<String, usize>,
    /// Names of the items that it defines itself.
    pub defines: BTreeSet<String>,
    /// Whether only tests have it.
    pub test: bool,
}

/// The modules of a crate, the root first.
#[derive(Default)]
pub struct Tree {
    pub modules: Vec<Module>,
    /// The files, each with the number of its outermost module.
    pub files: BTreeMap<PathBuf, (usize, syn::File)>,
    /// Declarations that lead nowhere and files that do not parse.
    pub problems: Vec<String>,
}

/// A module whose items are being read.
struct Place {
    module: usize,
    /// The folder of its modules' files.
    folder: PathBuf,
    /// The folder that `#[path]` starts from.
    path_folder: PathBuf,
}

impl Tree {
    /// Follows the `mod` declarations from the file `root`.
    pub fn new(root: &Path, sources: &Sources) -> Self {
        let mut reader = Reader { sources, tree: Self::default() };
        if sources.contains_key(root) {
            let module = reader.add_module(root, None, false);
            reader.read_file(root, module, folder_of(root));
        } else {
            reader.tree.problems.push(format!("{}: the root of the crate does not exist", root.display()));
        }
        reader.tree
    }
}

/// Builds the tree.
struct Reader<'s> {
    sources: &'s Sources,
    tree: Tree,
}

impl Reader<'_> {
    /// Reads a file, whose outermost module is `module` and has the files of its modules in `folder`.
    fn read_file(&mut self, file: &Path, module: usize, folder: PathBuf) {
        match syn::parse_file(&self.sources[file]) {
            Ok(syntax) => {
                self.read_items(&syntax.items, &Place { module, folder, path_folder: folder_of(file) });
                self.tree.files.insert(file.to_path_buf(), (module, syntax));
            }
            Err(error) => {
                let line = error.span().start().line;
                self.tree.problems.push(format!("{}:{line}: does not parse: {error}", file.display()));
            }
        }
    }

    /// The number of a new module, or of the inline module of that name which is there already.
    fn add_module(&mut self, file: &Path, above: Option<(usize, &str)>, test: bool) -> usize {
        let modules = &mut self.tree.modules;
        let number = modules.len();
        let mut path = Vec::new();
        if let Some((parent, name)) = above {
            if let Some(&twin) = modules[parent].children.get(name) {
                modules[twin].test &= test;
                return twin;
            }
            path.clone_from(&modules[parent].path);
            path.push(name.to_owned());
            modules[parent].children.insert(name.to_owned(), number);
        }
        let (parent, file) = (above.map(|(parent, _)| parent), file.to_path_buf());
        modules.push(Module {
            path,
            file,
            parent,
            children: BTreeMap::new(),
            defines: BTreeSet::new(),
            test,
        });
        number
    }

    fn read_items(&mut self, items: &[Item], place: &Place) {
        for item in items {
            if let Item::Mod(declaration) = item {
                self.declare(declaration, place);
            } else {
                self.tree.modules[place.module].defines.extend(defined_names(item));
            }
        }
    }

    fn declare(&mut self, declaration: &ItemMod, place: &Place) {
        let name = declaration.ident.to_string();
        let parent = &self.tree.modules[place.module];
        let test = parent.test || is_test(&declaration.attrs);
        let above = Some((place.module, name.as_str()));
        let own_folder = place.folder.join(&name);
        if let Some((_, items)) = &declaration.content {
            let file = parent.file.clone();
            let module = self.add_module(&file, above, test);
            self.read_items(items, &Place { module, folder: own_folder.clone(), path_folder: own_folder });
            return;
        }
        let at = format!("{}:{}", parent.file.display(), declaration.ident.span().start().line);
        if parent.children.contains_key(&name) {
            self.tree.problems.push(format!("{at}: declares mod {name} again: name each file differently"));
            return;
        }
        let explicit =
            path_attribute(&declaration.attrs).map(|path| normalized(&place.path_folder.join(path)));
        let usual = [place.folder.join(format!("{name}.rs")), own_folder.join("mod.rs")];
        let candidates = explicit.as_ref().map_or(&usual[..], std::slice::from_ref);
        let Some(file) = candidates.iter().find(|file| self.sources.contains_key(*file)) else {
            let names: Vec<String> = candidates.iter().map(|file| file.display().to_string()).collect();
            self.tree
                .problems
                .push(format!("{at}: declares mod {name}, but there is no {}", names.join(" or ")));
            return;
        };
        let folder = explicit.as_deref().map_or(own_folder, folder_of);
        let module = self.add_module(file, above, test);
        self.read_file(file, module, folder);
    }
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).to_path_buf()
}

/// The string of `#[path = "..."]`.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// The names that other modules can reach the item by. Any word in the call of a macro may be one.
fn defined_names(item: &Item) -> Vec<String> {
    let identifier = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Macro(item) => match &item.ident {
            Some(name) => name,
            None => return words(item.mac.tokens.clone()),
        },
        Item::ForeignMod(block) => return block.items.iter().filter_map(foreign_name).collect(),
        _ => return Vec::new(),
    };
    vec![identifier.to_string()]
}

fn foreign_name(item: &ForeignItem) -> Option<String> {
    match item {
        ForeignItem::Fn(item) => Some(item.sig.ident.to_string()),
        ForeignItem::Static(item) => Some(item.ident.to_string()),
        _ => None,
    }
}

fn words(tokens: TokenStream) -> Vec<String> {
    let each = |token| match token {
        TokenTree::Ident(word) => vec![word.to_string()],
        TokenTree::Group(group) => words(group.stream()),
        _ => Vec::new(),
    };
    tokens.into_iter().flat_map(each).collect()
}

/// Calls `visit` for the names of all functions outside tests: `name`, `Type::name`, `Trait::name`.
pub fn each_function(items: &[Item], visit: &mut impl FnMut(String)) {
    for item in items.iter().filter(|item| !is_test(attributes(item))) {
        match item {
            Item::Fn(function) => visit(function.sig.ident.to_string()),
            Item::Impl(block) => {
                if let syn::Type::Path(own) = &*block.self_ty
                    && let Some(last) = own.path.segments.last()
                {
                    for method in &block.items {
                        if let syn::ImplItem::Fn(method) = method {
                            visit(format!("{}::{}", last.ident, method.sig.ident));
                        }
                    }
                }
            }
            Item::Trait(definition) => {
                for method in &definition.items {
                    if let syn::TraitItem::Fn(method) = method {
                        visit(format!("{}::{}", definition.ident, method.sig.ident));
                    }
                }
            }
            Item::Mod(ItemMod { content: Some((_, items)), .. }) => each_function(items, visit),
            _ => {}
        }
    }
}
