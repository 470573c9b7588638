// The class of ports that pagers are, made when it is first needed, once: libports cannot free one.

import CPlatform
import Synchronization

enum PagerClass {
    /// Where it is; 0: nowhere yet; `beingMade`: somebody makes it.
    private static let address = Atomic<UInt>(0)
    private static var beingMade: UInt { 1 }

    /// nil: there is none yet, so there is no pager.
    static var existing: UnsafeMutablePointer<port_class>? {
        let present = address.load(ordering: .acquiring)
        return present == beingMade ? nil : UnsafeMutablePointer(bitPattern: present)
    }

    /// nil: memory is exhausted.
    static func get() -> UnsafeMutablePointer<port_class>? {
        while true {
            if let existing { return existing }
            if address.compareExchange(expected: 0, desired: beingMade, ordering: .acquiring).exchanged {
                let made = make()
                address.store(UInt(bitPattern: made), ordering: .releasing)
                return made
            }
            // Until it is there, or could not be made.
            platform_pause_ms(1)
        }
    }

    private static func make() -> UnsafeMutablePointer<port_class>? {
        ports_create_class(
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
            })
    }
}
