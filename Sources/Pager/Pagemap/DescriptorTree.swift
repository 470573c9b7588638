// The red-black tree that orders a table's descriptors by content.
//
// Guarantees:
//   - Search, insertion and removal touch O(log n) descriptors; nothing is allocated.
//   - No two descriptors of the tree have equal content.
//   - A descriptor's place in memory does not change.
//
// Invariants, checked by `violation`:
//   T1  Left descendants come before a descriptor, right ones after it.
//   T2  The root is black, and a red descriptor has no red child.
//   T3  Every path from a descriptor down to a missing child has the same number of black ones.
//   T4  A child's parent link leads back.

struct DescriptorTree {
    private(set) var root: DescriptorPointer?

    enum Side: UInt8 {
        case left, right
        var opposite: Side { self == .left ? .right : .left }
    }

    /// Where a descriptor would have to be inserted.
    struct Place {
        var parent: DescriptorPointer?
        var side: Side
    }

    enum SearchResult {
        case found(DescriptorPointer)
        case missing(Place)
    }

    func search(_ content: EncodedContent) -> SearchResult {
        var place = Place(parent: nil, side: .left)
        var next = root
        while let descriptor = next {
            let order = EncodedContent.order(content, Descriptor(pointer: descriptor).content)
            if order == 0 { return .found(descriptor) }
            place = Place(parent: descriptor, side: order < 0 ? .left : .right)
            next = DescriptorTree.child(descriptor, place.side)
        }
        return .missing(place)
    }

    /// `place` is what `search` said for the descriptor's content; the tree has not changed since.
    mutating func insert(_ descriptor: DescriptorPointer, at place: Place) {
        descriptor.pointee.parent = place.parent
        descriptor.pointee.left = nil
        descriptor.pointee.right = nil
        descriptor.pointee.isRed = true
        if let parent = place.parent {
            assert(DescriptorTree.child(parent, place.side) == nil)
            DescriptorTree.setChild(parent, place.side, descriptor)
        } else {
            assert(root == nil)
            root = descriptor
        }
        balanceAfterInsertion(descriptor)
    }

    mutating func remove(_ descriptor: DescriptorPointer) {
        let removedRed: Bool
        /// What moved to the place that lost a descriptor, and that place's parent.
        let moved: DescriptorPointer?
        let parent: DescriptorPointer?

        if let left = descriptor.pointee.left, let right = descriptor.pointee.right {
            // Two children: the successor, which has no left child, takes the place and the colour.
            var successor = right
            while let lower = successor.pointee.left { successor = lower }
            removedRed = successor.pointee.isRed
            moved = successor.pointee.right
            if successor == right {
                parent = successor
            } else {
                parent = successor.pointee.parent
                replace(successor, by: moved)
                successor.pointee.right = right
                right.pointee.parent = successor
            }
            replace(descriptor, by: successor)
            successor.pointee.left = left
            left.pointee.parent = successor
            successor.pointee.isRed = descriptor.pointee.isRed
        } else {
            removedRed = descriptor.pointee.isRed
            moved = descriptor.pointee.left ?? descriptor.pointee.right
            parent = descriptor.pointee.parent
            replace(descriptor, by: moved)
        }
        if !removedRed { balanceAfterRemoval(moved, parent) }
        descriptor.pointee.parent = nil
        descriptor.pointee.left = nil
        descriptor.pointee.right = nil
    }

    // Links.

    private static func child(_ descriptor: DescriptorPointer, _ side: Side) -> DescriptorPointer? {
        side == .left ? descriptor.pointee.left : descriptor.pointee.right
    }

    private static func setChild(_ descriptor: DescriptorPointer, _ side: Side, _ child: DescriptorPointer?) {
        if side == .left { descriptor.pointee.left = child } else { descriptor.pointee.right = child }
    }

    private static func isRed(_ descriptor: DescriptorPointer?) -> Bool {
        guard let descriptor else { return false }
        return descriptor.pointee.isRed
    }

    /// `new`, or nothing, takes the place of `old` below the parent of `old`.
    private mutating func replace(_ old: DescriptorPointer, by new: DescriptorPointer?) {
        let parent = old.pointee.parent
        if let parent {
            DescriptorTree.setChild(parent, parent.pointee.left == old ? .left : .right, new)
        } else {
            root = new
        }
        new?.pointee.parent = parent
    }

    /// The descriptor goes down to this side, its child on the other side comes up in its place.
    private mutating func rotate(_ descriptor: DescriptorPointer, to side: Side) {
        let rising = DescriptorTree.child(descriptor, side.opposite).unsafelyUnwrapped
        let crossing = DescriptorTree.child(rising, side)
        DescriptorTree.setChild(descriptor, side.opposite, crossing)
        crossing?.pointee.parent = descriptor
        replace(descriptor, by: rising)
        DescriptorTree.setChild(rising, side, descriptor)
        descriptor.pointee.parent = rising
    }

    // Balance.

    /// `start` is red; the only rule that may be broken is T2, between it and its parent or at the root.
    private mutating func balanceAfterInsertion(_ start: DescriptorPointer) {
        var descriptor = start
        while let parent = descriptor.pointee.parent, parent.pointee.isRed {
            // A red descriptor is not the root.
            let grandparent = parent.pointee.parent.unsafelyUnwrapped
            let side: Side = grandparent.pointee.left == parent ? .left : .right
            if let uncle = DescriptorTree.child(grandparent, side.opposite), uncle.pointee.isRed {
                parent.pointee.isRed = false
                uncle.pointee.isRed = false
                grandparent.pointee.isRed = true
                descriptor = grandparent
                continue
            }
            if DescriptorTree.child(parent, side.opposite) == descriptor {
                rotate(parent, to: side)
                descriptor = parent
            }
            let upper = descriptor.pointee.parent.unsafelyUnwrapped
            upper.pointee.isRed = false
            grandparent.pointee.isRed = true
            rotate(grandparent, to: side.opposite)
        }
        root.unsafelyUnwrapped.pointee.isRed = false
    }

    /// The paths through `start` (which may be missing) below `parent` have one black too few.
    private mutating func balanceAfterRemoval(_ start: DescriptorPointer?, _ startParent: DescriptorPointer?) {
        var descriptor = start
        var above = startParent
        while let parent = above, !DescriptorTree.isRed(descriptor) {
            let side: Side = parent.pointee.left == descriptor ? .left : .right
            let other = side.opposite
            // The other side has a black more, so there is a sibling.
            var sibling = DescriptorTree.child(parent, other).unsafelyUnwrapped
            if sibling.pointee.isRed {
                sibling.pointee.isRed = false
                parent.pointee.isRed = true
                rotate(parent, to: side)
                sibling = DescriptorTree.child(parent, other).unsafelyUnwrapped
            }
            let near = DescriptorTree.child(sibling, side)
            if !DescriptorTree.isRed(near) && !DescriptorTree.isRed(DescriptorTree.child(sibling, other)) {
                sibling.pointee.isRed = true
                descriptor = parent
                above = parent.pointee.parent
                continue
            }
            if !DescriptorTree.isRed(DescriptorTree.child(sibling, other)) {
                // Their colours are set below, as where the far child was red.
                rotate(sibling, to: other)
                sibling = near.unsafelyUnwrapped
            }
            sibling.pointee.isRed = parent.pointee.isRed
            parent.pointee.isRed = false
            DescriptorTree.child(sibling, other).unsafelyUnwrapped.pointee.isRed = false
            rotate(parent, to: side)
            return
        }
        descriptor?.pointee.isRed = false
    }
}

extension DescriptorTree {
    /// In order of content.
    func forEach(_ body: (DescriptorPointer) -> Void) {
        var next = root.map { DescriptorTree.lowest($0) }
        while let descriptor = next {
            next = DescriptorTree.successor(descriptor)
            body(descriptor)
        }
    }

    private static func lowest(_ descriptor: DescriptorPointer) -> DescriptorPointer {
        var lowest = descriptor
        while let left = lowest.pointee.left { lowest = left }
        return lowest
    }

    private static func successor(_ descriptor: DescriptorPointer) -> DescriptorPointer? {
        if let right = descriptor.pointee.right { return lowest(right) }
        var below = descriptor
        while let parent = below.pointee.parent {
            if parent.pointee.left == below { return parent }
            below = parent
        }
        return nil
    }

    /// The first broken invariant, or nil.
    func violation() -> StaticString? {
        if let root {
            if root.pointee.isRed { return "T2 red root" }
            if root.pointee.parent != nil { return "T4 the root has a parent" }
            if let broken = DescriptorTree.violation(below: root).broken { return broken }
        }
        var previous: DescriptorPointer?
        var broken: StaticString?
        forEach { descriptor in
            if let previous, EncodedContent.order(Descriptor(pointer: previous).content,
                                                  Descriptor(pointer: descriptor).content) >= 0 {
                broken = "T1 order"
            }
            previous = descriptor
        }
        return broken
    }

    /// The black height of a subtree, or what is broken in it. Recursion is as deep as the tree, which T2 and T3
    /// bound by twice the logarithm.
    private static func violation(below descriptor: DescriptorPointer?) -> (height: Int, broken: StaticString?) {
        guard let descriptor else { return (0, nil) }
        let left = descriptor.pointee.left, right = descriptor.pointee.right
        if let left, left.pointee.parent != descriptor { return (0, "T4 left child's parent") }
        if let right, right.pointee.parent != descriptor { return (0, "T4 right child's parent") }
        if descriptor.pointee.isRed && (isRed(left) || isRed(right)) { return (0, "T2 red below red") }
        let leftResult = violation(below: left)
        if leftResult.broken != nil { return leftResult }
        let rightResult = violation(below: right)
        if rightResult.broken != nil { return rightResult }
        if leftResult.height != rightResult.height { return (0, "T3 black height") }
        return (leftResult.height + (descriptor.pointee.isRed ? 0 : 1), nil)
    }
}
