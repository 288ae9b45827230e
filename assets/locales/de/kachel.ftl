# Die Wörter des Kachel-Betrachters. Die englische Datei hat dieselben Texte mit denselben Variablen.

## Verbinden
connect-title = Kachel
connect-explain = Geben Sie den Rechner an, auf dem Sie arbeiten möchten, oder ziehen Sie seine .kachel-Datei hierher.
connect-address = Rechner oder .kachel-Datei
connect-hint = platz.example.org
connect-recent = Zuletzt verwendet
connect-used-now = in der letzten Stunde
connect-used-hours = { $hours ->
    [one] vor einer Stunde
   *[other] vor { $hours } Stunden
}
connect-used-days = { $days ->
    [one] vor einem Tag
   *[other] vor { $days } Tagen
}
connect-forget = Aus der Liste nehmen
connect-drop = Loslassen, um zu verbinden
button-connect = Verbinden

## Verbindungsaufbau
connecting-title = Verbindung mit { $host }
connecting-slow = Das dauert länger als üblich, bisher { $seconds } s. Kachel versucht es weiter.
step-resolving = Rechner suchen
step-handshake = Identität prüfen
step-desktop = Arbeitsfläche starten
step-picture = Auf das erste Bild warten
button-cancel = Abbrechen

## Störung
stalled-title = { $host } antwortet nicht
stalled-text = Das Bild steht seit { $seconds } s still. Ihre Arbeitsfläche und Ihre Programme laufen dort weiter.
stalled-next = Sobald die Verbindung wieder da ist, geht es von selbst weiter. Sie müssen nichts tun.
reconnecting-title = Verbindung mit { $host } verloren
reconnecting-title-first = Noch keine Verbindung mit { $host }
reconnecting-next-now = Neue Verbindung wird aufgebaut (Versuch { $attempt }). Sie müssen nichts tun.
reconnecting-next-in = Neue Verbindung in { $seconds } s (Versuch { $attempt }). Sie müssen nichts tun.
reconnecting-keeps = Ihre Arbeitsfläche und Ihre Programme laufen dort weiter.
loss-no-answer = Der Rechner antwortet nicht mehr.
loss-closed = Der Rechner hat die Verbindung geschlossen.
loss-network = Dieser Computer hat zurzeit kein Netz.
loss-name = Der Name des Rechners ist zurzeit im Netz nicht zu finden.
loss-restart = Der Rechner wird neu gestartet.
button-reconnect-now = Jetzt verbinden

## Ende einer Sitzung
button-reconnect = Neu verbinden
button-close = Schließen
notice-certificate-title = Das ist nicht der bekannte Rechner
notice-certificate-text = { $host } hat eine andere Identität gezeigt, als in Ihrer .kachel-Datei steht. Kachel hat ihm nichts gesendet.
notice-certificate-next = Wurde der Rechner neu eingerichtet, bitten Sie die Verwaltung um eine neue .kachel-Datei. Sonst verbinden Sie sich nicht.
notice-device-title = Dieses Gerät ist nicht angemeldet
notice-device-text = { $host } kennt dieses Gerät nicht, oder die Anmeldung ist abgelaufen.
notice-device-next = Bitten Sie die Verwaltung um eine neue .kachel-Datei und öffnen Sie diese.
notice-ended-title = Die Sitzung ist beendet
notice-ended-text = { $host } hat die Sitzung beendet, zum Beispiel weil Sie sich abgemeldet haben.
notice-ended-next = Sie können neu verbinden und eine neue Sitzung beginnen.
notice-taken-title = Auf einem anderen Gerät fortgesetzt
notice-taken-text = Ihre Sitzung wird jetzt auf einem anderen Gerät gezeigt. Es ging nichts verloren.
notice-taken-next = Verbinden Sie neu, um sie auf diesen Bildschirm zurückzuholen.
notice-protocol-title = Die Verbindung wurde wegen eines Fehlers beendet
notice-protocol-text = { $host } hat etwas gesendet, das dieses Programm nicht annimmt (Fehler { $code }).
notice-protocol-next = Verbinden Sie neu. Geschieht es wieder, nennen Sie der Verwaltung diese Nummer.
notice-version-title = Dieses Programm und der Rechner passen nicht zusammen
notice-version-text = { $host } hat eine Version von Kachel, die zu dieser nicht passt, oder dort antwortet ein anderes Programm.
notice-version-next = Aktualisieren Sie die ältere von beiden. Sind beide neu, bitten Sie die Verwaltung, die Adresse zu prüfen.
notice-busy-title = { $host } lässt zurzeit niemanden ein
notice-busy-text = Der Rechner wird neu gestartet, oder mit ihm sind schon so viele Geräte verbunden, wie er aufnimmt.
notice-busy-next = Warten Sie einen Augenblick und verbinden Sie dann neu. Bleibt es dabei, sagen Sie es der Verwaltung.
notice-unreachable-title = { $host } ist nicht erreichbar
notice-unreachable-text = Es kam keine Antwort. Vielleicht ist der Rechner ausgeschaltet, oder eine Firewall steht dazwischen.
notice-unreachable-next = Prüfen Sie den Namen und Ihr Netz und verbinden Sie dann neu.
notice-network-title = Dieser Computer hat kein Netz
notice-network-text = Von hier führt kein Weg zu { $host }.
notice-network-next = Stecken Sie das Netzkabel ein oder schalten Sie das WLAN an und verbinden Sie dann neu.
notice-name-title = Es gibt keinen Rechner namens { $host }
notice-name-text = Der Name wurde im Netz nicht gefunden.
notice-name-next = Prüfen Sie die Schreibweise. In manchen Firmen muss zuerst das VPN eingeschaltet werden.
notice-file-title = Diese Datei ist nicht verwendbar
notice-file-text = { $path } ist keine vollständige .kachel-Datei.
notice-file-next = Bitten Sie die Verwaltung um eine neue.
notice-unreadable-title = Diese Datei ist nicht lesbar
notice-unreadable-text = { $path } ist nicht da, oder Sie dürfen sie nicht lesen.
notice-unreadable-next = Sehen Sie nach, wo die Datei liegt, und öffnen Sie sie von dort.
notice-expired-title = Diese Datei ist abgelaufen
notice-expired-text = { $path } galt nur für begrenzte Zeit. Nach der Uhr dieses Computers ist sie vorbei.
notice-expired-next = Bitten Sie die Verwaltung um eine neue. Geht die Uhr falsch, stellen Sie sie und öffnen Sie die Datei noch einmal.
notice-clock-title = Eine Uhr geht falsch
notice-clock-text = Nach der Uhr dieses Computers gilt { $path } noch nicht. Sie geht nach, oder die des Rechners geht vor.
notice-clock-next = Stellen Sie Datum und Uhrzeit dieses Computers und öffnen Sie die Datei noch einmal.
notice-needs-title = Dafür braucht Kachel eine .kachel-Datei
notice-needs-text = { $host } lässt nur Geräte ein, die er durch eine solche Datei kennt. Kachel hat ihn nicht angesprochen.
notice-needs-next = Bitten Sie seine Verwaltung um eine .kachel-Datei und öffnen Sie diese.
notice-address-title = Das ist keine Adresse
notice-address-text = Kachel erwartet einen Namen wie platz.example.org, bei Bedarf mit Port: platz.example.org:{ $port }.
notice-address-next = Berichtigen Sie die Adresse und verbinden Sie.

## Verbindungsleiste
bar-fullscreen = Vollbild
bar-window = Vollbild verlassen
bar-stats = Statistik
bar-stats-hide = Statistik ausblenden
bar-disconnect = Trennen
bar-disconnect-hint = Ihre Sitzung läuft ohne dieses Fenster weiter.
bar-view-only = Nur ansehen
quality-excellent = Sehr gut
quality-good = Gut
quality-fair = Mäßig
quality-poor = Schlecht
quality-unknown = Noch nicht gemessen

## Statistik
stats-title = Statistik
stats-host = Rechner
stats-uptime = Verbunden seit
stats-adapter = Grafik
stats-tier = Bild durch
stats-round-trip = Umlaufzeit
stats-frames = Bilder
stats-traffic = Verkehr
stats-total = Empfangen
stats-decode = Dekodieren
stats-latency = Eingabe bis Bild
stats-exact = Bild exakt
stats-screen = Bildschirm
stats-window = Fenster
stats-scale = Skalierung
stats-keyboard = Tastatur
stats-unknown = unbekannt
stats-yes = ja
stats-unchecked = ja, noch nicht geprüft
stats-no = noch nicht
stats-per-second = { $value } pro Sekunde
stats-latency-value = { $median }, 95 %: { $high }
tier-compute = GPU
tier-draw = CPU, gezeichnet von GPU
tier-cpu = CPU
decode-gpu = { $time } (GPU)
decode-cpu = { $time } (CPU)

## Ton
bar-sound = Ton
bar-sound-muted = Ton (stumm)
bar-microphone = Mikrofon an
bar-microphone-off = Mikrofon aus
microphone-on = Mikrofon ist an
microphone-wanted = Ein Programm in der Sitzung möchte Sie hören
sound-title = Ton
sound-volume = Lautstärke
sound-mute = Stumm schalten
sound-unmute = Ton einschalten
sound-denied = Der Rechner erlaubt keinen Ton. Fragen Sie die Verwaltung, wenn Sie ihn brauchen.
sound-output = Lautsprecher
sound-input = Mikrofon
sound-automatic = Wie im System gewählt
sound-gone = Nicht angeschlossen
sound-microphone-off = Das Mikrofon ist aus. Nur Sie können es einschalten.
sound-microphone-on = Das Mikrofon ist an. Programme in der Sitzung können Sie hören.
sound-microphone-wanted = Ein Programm in der Sitzung möchte Sie hören. Das Mikrofon ist aus, bis Sie es einschalten.
sound-microphone-denied = Der Rechner erlaubt kein Mikrofon. Fragen Sie die Verwaltung, wenn Sie es brauchen.
sound-microphone-start = Mikrofon einschalten
sound-microphone-stop = Mikrofon ausschalten
sound-level = Pegel { $percent } %
sound-test = Hören Sie einen Testton, oder sprechen Sie drei Sekunden und hören Sie sich danach selbst.
sound-test-tone = Sie sollten jetzt einen Ton hören. Sonst wählen Sie einen anderen Lautsprecher.
sound-test-recording = Sprechen Sie jetzt.
sound-test-replaying = Sie sollten sich jetzt hören. Sonst wählen Sie ein anderes Mikrofon.
sound-delay = Verzögerung: { $time }
sound-delay-unknown = Verzögerung: noch kein Ton
sound-button-tone = Testton
sound-button-loop = Sprechprobe
sound-close = Schließen
stats-sound = Ton
stats-sound-value = { $delay } Verzögerung, { $concealed } ersetzt, { $missing } fehlten

## Drucken
bar-printing = Drucken
printing-title = Drucken
printing-asks = Wurde ein Blatt gedruckt? Nur Sie können es wissen.
printing-explain = Diese Drucker kann die Sitzung benutzen:
printing-none = An diesem Gerät ist kein Drucker eingerichtet. Richten Sie in den Einstellungen des Geräts einen ein; er erscheint dann hier.
printing-denied = Diese Sitzung darf nicht auf Druckern dieses Geräts drucken. Fragen Sie Ihre Verwaltung, wenn Sie das brauchen.
printing-default = { $name } (Standard)
printing-no-jobs = Kein Druckauftrag.
printing-untitled = Auftrag von vorhin
printing-close = Schließen
printing-cancel = Abbrechen
printing-receiving = Wird übertragen, { $percent } %
printing-queued = Wartet beim Drucker.
printing-printing = Wird gedruckt.
printing-stopped = Der Drucker hat angehalten. Sehen Sie am Drucker nach.
printing-stopped-paper = Kein Papier mehr. Legen Sie Papier ein, dann geht es weiter.
printing-stopped-jam = Papierstau. Entfernen Sie das Papier, dann geht es weiter.
printing-stopped-cover = Eine Klappe ist offen. Schließen Sie sie, dann geht es weiter.
printing-stopped-toner = Kein Toner mehr. Wechseln Sie ihn, dann geht es weiter.
printing-stopped-offline = Der Drucker antwortet nicht. Schalten Sie ihn ein und prüfen Sie das Kabel; der Auftrag wartet.
printing-stopped-system = Das Drucksystem dieses Geräts antwortet nicht. Der Auftrag wartet und wird von selbst übergeben.
printing-done = Gedruckt.
printing-canceled = Abgebrochen.
printing-failed = Nicht gedruckt: Das Drucksystem hat aufgegeben. Sehen Sie am Drucker nach und drucken Sie noch einmal.
printing-failed-refused = Nicht gedruckt: Der Drucker nimmt diesen Auftrag nicht an. Drucken Sie auf einem anderen.
printing-failed-damaged = Nicht gedruckt: Das Dokument kam beschädigt an. Drucken Sie noch einmal.
printing-failed-printer = Nicht gedruckt: Der Drucker ist nicht mehr da. Drucken Sie auf einem anderen.
printing-failed-room = Nicht gedruckt: An diesem Gerät ist kein Platz. Geben Sie Speicher frei und drucken Sie noch einmal.
printing-failed-journal = Nicht gedruckt: Das Druckprotokoll kann nicht geschrieben werden. Geben Sie Speicher frei und drucken Sie noch einmal.
printing-unknown = Wurde das Blatt gedruckt? Die Übergabe wurde unterbrochen, darum kann es niemand außer Ihnen wissen.
printing-was-printed = Ja, gedruckt
printing-was-not-printed = Nein, noch einmal drucken
