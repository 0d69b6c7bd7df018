//! How much memory this process has: of the system, and from its allocator.

/// Bytes of a MiB.
const MEBIBYTE: f64 = (1 << 20) as f64;

/// Pages of this process in MiB, also those that have been swapped out, without what is only a view of files, such as libraries and the
/// store; NaN where it is not told. Free memory that an allocator keeps counts.
pub fn anonymous() -> f64 {
    // The kernel adds the first up when it is asked; the second are counters that on large machines lag behind by megabytes.
    let told = [("/proc/self/smaps_rollup", ["Anonymous:", "Swap:"]), ("/proc/self/status", ["RssAnon:", "VmSwap:"])];
    let kilobytes = told.into_iter().find_map(|(file, fields)| {
        let text = std::fs::read_to_string(file).ok()?;
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        Some(field(fields[0])? + field(fields[1])?)
    });
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes * 1024.0 / MEBIBYTE)
}

/// What glibc's `malloc` has handed out and not got back, in MiB, to the byte: neither huge pages nor swapping nor gaps between its blocks
/// change it. What is mapped without it does not count; where another allocator stands in for it (`LD_PRELOAD`), nothing does.
pub fn allocated() -> f64 {
    // SAFETY: looks a name up among the libraries of this process.
    let mallinfo2 = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"mallinfo2".as_ptr()) };
    let bytes = if mallinfo2.is_null() {
        // glibc before 2.33, which is enough for this program, counts in 32 bits only.
        // SAFETY: a question without preconditions.
        let info = unsafe { libc::mallinfo() };
        f64::from(info.uordblks as u32) + f64::from(info.hblkhd as u32)
    } else {
        // SAFETY: this is the type of the function of this name, which is a question without preconditions.
        let info = unsafe { std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn() -> libc::mallinfo2>(mallinfo2)() };
        (info.uordblks + info.hblkhd) as f64
    };
    bytes / MEBIBYTE
}

/// From now on the system gives this process no huge pages: its pages then grow by as much as it uses. For a process that is looked at, not
/// for one that trains.
pub fn without_huge_pages() {
    // SAFETY: a setting of this process; where the system refuses it, all is as before.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}
