# Words of the Kachel viewer. The German file has the same texts with the same variables.

## Connect
connect-title = Kachel
connect-explain = Enter the computer you want to work on, or drop its .kachel file here.
connect-address = Computer or .kachel file
connect-hint = desk.example.org
connect-recent = Recently used
connect-used-now = in the last hour
connect-used-hours = { $hours ->
    [one] an hour ago
   *[other] { $hours } hours ago
}
connect-used-days = { $days ->
    [one] a day ago
   *[other] { $days } days ago
}
connect-forget = Take off the list
connect-drop = Drop the file to connect
button-connect = Connect

## Connecting
connecting-title = Connecting to { $host }
connecting-slow = This is taking longer than usual: { $seconds } s so far. Kachel keeps trying.
step-resolving = Find the computer
step-handshake = Check its identity
step-desktop = Start your desktop
step-picture = Wait for the first picture
button-cancel = Cancel

## Link trouble
stalled-title = No answer from { $host }
stalled-text = The picture has been standing still for { $seconds } s. Your desktop and your programs keep running there.
stalled-next = Kachel goes on by itself as soon as the connection is back. You need not do anything.
reconnecting-title = Connection to { $host } lost
reconnecting-title-first = Not connected to { $host } yet
reconnecting-next-now = Connecting again (attempt { $attempt }). You need not do anything.
reconnecting-next-in = Connecting again in { $seconds } s (attempt { $attempt }). You need not do anything.
reconnecting-keeps = Your desktop and your programs keep running there.
loss-no-answer = The host has stopped answering.
loss-closed = The host has closed the connection.
loss-network = This computer has no network at the moment.
loss-name = The host's name is not found in the network at the moment.
loss-restart = The host is being restarted.
button-reconnect-now = Connect now

## End of a session
button-reconnect = Connect again
button-close = Close
notice-certificate-title = This is not the computer you know
notice-certificate-text = { $host } showed an identity other than the one in your .kachel file. Kachel has sent it nothing.
notice-certificate-next = If the computer was set up anew, ask its administrator for a new .kachel file. Otherwise do not connect.
notice-device-title = This device is not registered
notice-device-text = { $host } does not know this device, or its registration has expired.
notice-device-next = Ask the administrator for a new .kachel file and open that one.
notice-ended-title = The session has ended
notice-ended-text = { $host } has ended the session, for example because you logged out.
notice-ended-next = You can connect again and begin a new session.
notice-taken-title = Continued on another device
notice-taken-text = Your session now shows on another device. Nothing was lost.
notice-taken-next = Connect again to bring it back to this screen.
notice-protocol-title = The connection was ended because of an error
notice-protocol-text = { $host } sent something this program does not accept (error { $code }).
notice-protocol-next = Connect again. If it happens again, tell the administrator this number.
notice-version-title = This program and the host do not understand each other
notice-version-text = { $host } has a version of Kachel that does not match this one, or another program answers there.
notice-version-next = Update the older of the two. If both are new, ask the administrator to check the address.
notice-busy-title = { $host } lets nobody in at the moment
notice-busy-text = The host is being restarted, or as many devices are connected to it as it takes.
notice-busy-next = Wait a moment, then connect again. If it stays so, tell the administrator.
notice-unreachable-title = { $host } cannot be reached
notice-unreachable-text = There was no answer. The computer may be off, or a firewall is in between.
notice-unreachable-next = Check the name and your network, then connect again.
notice-network-title = This computer has no network
notice-network-text = There is no way from here to { $host }.
notice-network-next = Plug in the cable or switch on the wireless network, then connect again.
notice-name-title = There is no computer called { $host }
notice-name-text = The name was not found in the network.
notice-name-next = Check the spelling. In some companies the VPN must be on first.
notice-file-title = This file cannot be used
notice-file-text = { $path } is not a complete .kachel file.
notice-file-next = Ask the administrator for a new one.
notice-unreadable-title = This file cannot be read
notice-unreadable-text = { $path } is not there, or you may not read it.
notice-unreadable-next = Look where the file lies, then open it from there.
notice-expired-title = This file has expired
notice-expired-text = { $path } was good for a limited time only. By this computer's clock, it is over.
notice-expired-next = Ask the administrator for a new one. If the clock is wrong, set it and open the file again.
notice-clock-title = A clock is wrong
notice-clock-text = By this computer's clock, { $path } is not valid yet. The clock is slow, or that of the host is fast.
notice-clock-next = Set date and time of this computer, then open the file again.
notice-needs-title = Kachel needs a .kachel file for this
notice-needs-text = { $host } lets in only devices that it knows by such a file. Kachel has not contacted it.
notice-needs-next = Ask its administrator for a .kachel file and open that one.
notice-address-title = This is not an address
notice-address-text = Kachel expects a name such as desk.example.org, with a port if needed: desk.example.org:{ $port }.
notice-address-next = Correct the address and connect.

## Connection bar
bar-fullscreen = Full screen
bar-window = Leave full screen
bar-stats = Statistics
bar-stats-hide = Hide statistics
bar-disconnect = Disconnect
bar-disconnect-hint = Your session goes on without this window.
bar-view-only = View only
quality-excellent = Very good
quality-good = Good
quality-fair = Fair
quality-poor = Poor
quality-unknown = Not measured yet

## Statistics
stats-title = Statistics
stats-host = Host
stats-uptime = Connected for
stats-adapter = Graphics
stats-tier = Picture by
stats-round-trip = Round trip
stats-frames = Frames
stats-traffic = Traffic
stats-total = Received
stats-decode = Decoding
stats-latency = Input to picture
stats-exact = Exact picture
stats-screen = Screen
stats-window = Window
stats-scale = Scale
stats-keyboard = Keyboard
stats-unknown = unknown
stats-yes = yes
stats-unchecked = yes, not checked yet
stats-no = not yet
stats-per-second = { $value } per second
stats-latency-value = { $median }, 95 %: { $high }
tier-compute = GPU
tier-draw = CPU, drawn by GPU
tier-cpu = CPU
decode-gpu = { $time } (GPU)
decode-cpu = { $time } (CPU)

## Sound
bar-sound = Sound
bar-sound-muted = Sound (muted)
bar-microphone = Microphone on
bar-microphone-off = Microphone off
microphone-on = Microphone is on
microphone-wanted = A program in the session would like to hear you
sound-title = Sound
sound-volume = Volume
sound-mute = Mute
sound-unmute = Unmute
sound-denied = The computer does not allow sound. Ask its administrators if you need it.
sound-output = Loudspeaker
sound-input = Microphone
sound-automatic = As chosen in the system
sound-gone = Not plugged in
sound-microphone-off = The microphone is off. Only you can switch it on.
sound-microphone-on = The microphone is on. Programs in the session can hear you.
sound-microphone-wanted = A program in the session would like to hear you. The microphone is off until you switch it on.
sound-microphone-denied = The computer does not allow a microphone. Ask its administrators if you need it.
sound-microphone-start = Switch the microphone on
sound-microphone-stop = Switch the microphone off
sound-level = Level { $percent } %
sound-test = Listen to a test tone, or speak for three seconds and then hear yourself.
sound-test-tone = You should hear a tone now. If not, choose another loudspeaker.
sound-test-recording = Speak now.
sound-test-replaying = You should hear yourself now. If not, choose another microphone.
sound-delay = Delay: { $time }
sound-delay-unknown = Delay: no sound yet
sound-button-tone = Test tone
sound-button-loop = Try your voice
sound-close = Close
stats-sound = Sound
stats-sound-value = { $delay } delay, { $concealed } made up, { $missing } missing

## Printing
bar-printing = Printing
printing-title = Printing
printing-asks = Was a sheet printed? Only you can know.
printing-explain = The session can use these printers:
printing-none = This device has no printer. Set one up in the device's settings; it then appears here.
printing-denied = This session may not print on this device's printers. Ask your administrator if you need that.
printing-default = { $name } (default)
printing-no-jobs = No print job.
printing-untitled = A job from before
printing-close = Close
printing-cancel = Cancel
printing-receiving = Being transferred, { $percent } %
printing-queued = Waiting at the printer.
printing-printing = Being printed.
printing-stopped = The printer has stopped. Look at the printer.
printing-stopped-paper = Out of paper. Put paper in and it goes on.
printing-stopped-jam = Paper jam. Remove the paper and it goes on.
printing-stopped-cover = A cover is open. Close it and it goes on.
printing-stopped-toner = Out of toner. Replace it and it goes on.
printing-stopped-offline = The printer does not answer. Switch it on and check the cable; the job waits.
printing-stopped-system = This device's print system does not answer. The job waits and is handed over by itself.
printing-done = Printed.
printing-canceled = Cancelled.
printing-failed = Not printed: the print system gave up. Look at the printer and print again.
printing-failed-refused = Not printed: the printer does not take this job. Print on another one.
printing-failed-damaged = Not printed: the document arrived damaged. Print again.
printing-failed-printer = Not printed: the printer is no longer there. Print on another one.
printing-failed-room = Not printed: this device has no room. Free some storage and print again.
printing-failed-journal = Not printed: the print journal cannot be written. Free some storage and print again.
printing-unknown = Was the sheet printed? The hand-over was interrupted, so nobody but you can know.
printing-was-printed = Yes, it was printed
printing-was-not-printed = No, print it again
