// What kernels do: of their own accord, and when the pager's messages reach them.
//
// As GNU Mach does it (protocol.md, section 2). Messages to a kernel are executed when they are sent; what it answers
// joins its channel in the same step. Not so where a kernel's threads overtake each other (`Bounds.overtaking`): a thread that has decided to
// ask for the page, or for writing, may send that at any later moment, whatever has become of the page. (What comes back and the answer to a
// lock request are one thread's, and stay in order.)

@testable import Pager

/// What a user's call asks of a client.
enum UserCall: UInt8 {
    /// Return what is dirty, keep the page.
    case sync
    /// Return what is dirty or precious, give the page up.
    case giveBack
    /// Give the page up, dirty data with it.
    case flush
}

extension Kernel {
    // Of its own accord.

    mutating func touch(write: Bool, late: Bool) {
        page = write ? .waitsToWrite : .waitsToRead
        if late { lateRequest = write ? .write : .read } else { send(.request(write: write)) }
    }

    mutating func askToWrite(late: Bool) {
        unlocking = true
        if late { lateUnlock = true } else { send(.unlock) }
    }

    // What was late.

    mutating func sendRequest() {
        send(.request(write: lateRequest == .write))
        lateRequest = .none
    }

    mutating func sendUnlock() {
        send(.unlock)
        lateUnlock = false
    }

    mutating func pageOut() {
        send(.returned(dirty: dirty, keepsCopy: false, version: version))
        forgetPage()
    }

    // Executing the pager's messages. Each returns what is wrong with getting it, if anything.

    mutating func supply(version: UInt8, write: Bool, precious: Bool, unasked: Bool) -> String? {
        if life != .attached { return nil }
        if !waits {
            if !unasked { return "answer: data that nobody asked for" }
            // What is there stays.
            if isPresent { return nil }
        }
        page = .present
        locked = !write
        dirty = false
        self.precious = precious
        unlocking = false
        self.version = version
        return nil
    }

    mutating func fail(unasked: Bool) -> String? {
        if life != .attached { return nil }
        if !waits { return unasked ? nil : "answer: an error that nobody asked for" }
        forgetPage()
        return nil
    }

    mutating func permitWriting() {
        if life != .attached || !isPresent { return }
        locked = false
        unlocking = false
    }

    /// A lock request of the protocol. A page that the kernel waits for is skipped.
    mutating func obey(_ request: Unsent) {
        if life != .attached { return }
        switch request {
        case .none: break
        case .downgrade:
            if isPresent {
                if dirty { send(.returned(dirty: true, keepsCopy: true, version: version)) }
                locked = true
                dirty = false
                unlocking = false
            }
        case .flush, .flushReturningAll:
            if isPresent {
                if dirty || (precious && request == .flushReturningAll) {
                    send(.returned(dirty: dirty, keepsCopy: false, version: version))
                }
                forgetPage()
            }
        }
        send(.lockCompleted)
    }

    mutating func obey(_ call: UserCall) {
        if isPresent {
            switch call {
            case .sync:
                if dirty { send(.returned(dirty: true, keepsCopy: true, version: version)) }
                dirty = false
            case .giveBack:
                if dirty || precious { send(.returned(dirty: dirty, keepsCopy: false, version: version)) }
                forgetPage()
            case .flush:
                forgetPage()
            }
        }
        granted = false
        send(.userCompleted(flushed: call != .sync))
    }

    /// `heard`: its last messages still reach the pager.
    mutating func die(heard: Bool) {
        forgetPage()
        life = .dying
        lateRequest = .none
        lateUnlock = false
        if !heard { channel = 0 }
    }
}
