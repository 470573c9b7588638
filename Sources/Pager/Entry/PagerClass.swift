// The class of ports that pagers are, made when it is first needed.

import CPlatform
import Synchronization

enum PagerClass {
    private static let address = Atomic<UInt>(0)

    /// nil: there is none yet, so there is no pager.
    static var existing: UnsafeMutablePointer<port_class>? {
        UnsafeMutablePointer(bitPattern: address.load(ordering: .acquiring))
    }

    /// nil: memory is exhausted.
    static func get() -> UnsafeMutablePointer<port_class>? {
        if let existing { return existing }
        guard let made = ports_create_class(
            { port in
                guard let port else { return }
                let pager = PagerObject.of(port: port)
                let user = pager.pointee.user
                let initialized = pager.pointee.isInitialized
                if !initialized { return }
                // The translator's data first: they may lie in the pager's memory, which libports frees afterwards.
                pager_clear_user_data(user)
                pager.finalize()
            },
            { port in
                guard let port else { return }
                let pager = PagerObject.of(port: port)
                if pager.pointee.isInitialized { pager_dropweak(pager.pointee.user) }
            }) else { return nil }
        let (exchanged, original) = address.compareExchange(
            expected: 0, desired: UInt(bitPattern: made), ordering: .acquiringAndReleasing)
        if exchanged { return made }
        _ = ports_destroy_class(made)
        return UnsafeMutablePointer(bitPattern: original)
    }
}
