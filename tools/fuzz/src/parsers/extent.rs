// SPDX-License-Identifier: GPL-2.0

//! Nodes of extent trees: looked at, and changed.

use super::{block, ino, layout, seed, NR};
use arbitrary::{Result, Unstructured};
use iomapfs_core::disk::extent::{
    Extent, ExtentNode, ExtentNodeFormat, ExtentNodeMut, Index, MAX_DEPTH, ROOT_BYTES,
};
use iomapfs_core::disk::{Format, Layout, LogicalBlock, PhysBlock};

/// A node of an extent tree: what is accepted is in order, without overlaps, on the device.
pub(super) fn extent_node(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let (layout, _) = layout(u)?;
    let seed = seed(u)?;
    let ino = ino(u)?;
    let is_root = u.ratio(1, 4)?;
    let fixed = u.ratio(3, 4)?;
    let format = ExtentNodeFormat::new(layout, ino, seed);
    if is_root {
        let mut root: [u8; ROOT_BYTES] = block(u, ROOT_BYTES)?.try_into().expect("its length");
        if fixed {
            fix_node(&mut root, 4);
        }
        if format.verify_root(&root).is_ok() {
            check_node(&ExtentNode::parse(&root).expect("it was accepted"), layout);
        }
        return Ok(());
    }
    let mut bytes = block(u, layout.block_size().bytes() as usize)?;
    if fixed {
        fix_node(&mut bytes, format.entries_per_block());
    }
    format.seal(NR, &mut bytes);
    if let Ok(node) = ExtentNode::parse(&bytes) {
        let _ = node.fits(0, LogicalBlock::ZERO, LogicalBlock::LIMIT);
        let _ = node.find(LogicalBlock::new(5));
    }
    if format.verify(NR, &bytes).is_ok() {
        let node = ExtentNode::parse(&bytes).expect("it was accepted");
        assert!(!node.is_empty() && node.depth() < MAX_DEPTH);
        check_node(&node, layout);
    }
    Ok(())
}

/// Gives a node the constant parts of its header, and a count that is not the first thing to be refused.
fn fix_node(bytes: &mut [u8], max: u16) {
    let count = u16::from_le_bytes([bytes[2], bytes[3]]) % (max + 2);
    bytes[..2].copy_from_slice(&0xf30a_u16.to_le_bytes());
    bytes[2..4].copy_from_slice(&count.to_le_bytes());
    bytes[4..6].copy_from_slice(&max.to_le_bytes());
    bytes[7] = 0;
}

fn check_node(node: &ExtentNode<'_>, layout: &Layout) {
    assert_eq!(node.slots().len(), node.len());
    let mut end = 0;
    for i in 0..node.len() {
        let key = node.key(i).expect("an entry").get();
        assert!(i == 0 || key >= end, "entries are not in order");
        let (nr, len) = match node.depth() {
            0 => {
                let extent = node.extent(i).expect("an entry");
                assert!(extent.len > 0 && extent.len <= extent.max_len());
                assert_eq!(extent.end().get(), key + extent.len);
                (extent.phys, extent.len)
            }
            _ => (node.index(i).expect("an entry").child, 1),
        };
        assert!(
            layout.contains(nr, len),
            "{nr:?}+{len} is not on the device"
        );
        end = key
            .checked_add(if node.depth() == 0 { len } else { 1 })
            .expect("the end");
        assert_eq!(node.find(LogicalBlock::new(key)), Some(i));
    }
    assert_eq!(node.key(node.len()), None);
}

/// Changes of a node, against a list.
pub(super) fn extent_change(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let len = *u.choose(&[ROOT_BYTES, 1024])?;
    let mut bytes = vec![0; len];
    let depth = u.int_in_range(0..=MAX_DEPTH)?;
    ExtentNodeMut::init(&mut bytes, depth).expect("there is room");
    let mut model: Vec<(u32, u64)> = Vec::new();
    while !u.is_empty() {
        let (at, count) = (u.int_in_range(0..=90)?, u.int_in_range(0..=5)?);
        let new: Vec<(u32, u64)> = (0..u.int_in_range(0..=5)?)
            .map(|_| Ok((u.arbitrary()?, u.arbitrary::<u64>()? & PhysBlock::MAX)))
            .collect::<Result<_>>()?;
        let mut node = ExtentNodeMut::parse(&mut bytes).expect("a good node");
        let room = (len - 12) / 12;
        let fits = at + count <= model.len() && model.len() - count + new.len() <= room;
        let done = if depth == 0 {
            let new: Vec<Extent> = new
                .iter()
                .map(|(key, phys)| Extent {
                    start: LogicalBlock::new(*key),
                    len: 1,
                    phys: PhysBlock::new(*phys),
                    written: true,
                })
                .collect();
            node.splice(at, count, &new)
        } else {
            let new: Vec<Index> = new
                .iter()
                .map(|(key, phys)| Index {
                    start: LogicalBlock::new(*key),
                    child: PhysBlock::new(*phys),
                })
                .collect();
            node.splice(at, count, &new)
        };
        assert_eq!(done.is_some(), fits);
        if fits {
            model.splice(at..at + count, new);
        }
        let node = ExtentNode::parse(&bytes).expect("a good node");
        assert_eq!(node.len(), model.len());
        for (i, (key, phys)) in model.iter().enumerate() {
            assert_eq!(node.key(i).map(LogicalBlock::get), Some(*key));
            let there = match depth {
                0 => node.extent(i).map(|extent| extent.phys),
                _ => node.index(i).map(|index| index.child),
            };
            assert_eq!(there.map(PhysBlock::get), Some(*phys));
        }
    }
    Ok(())
}
